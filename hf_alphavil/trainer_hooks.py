"""How a multitask trainer overrides `transformers.Trainer`, which it is in plain mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

F = TypeVar("F", bound=Callable)


class _MultitaskHook:
    """See [`multitask_hook`]."""

    def __init__(self, method: Callable) -> None:
        self.method = method

    def __set_name__(self, owner: type, name: str) -> None:
        method = self.method

        @functools.wraps(method)
        def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.is_multitask:
                return method(self, *args, **kwargs)
            return getattr(super(owner, self), name)(*args, **kwargs)

        setattr(owner, name, hook)


if TYPE_CHECKING:

    def multitask_hook(method: F) -> F:
        """
        Makes a method of a `transformers.Trainer` act in multitask mode alone; in plain mode Trainer's own runs.

        Args:
            method (`Callable`): A method with the name and the signature of Trainer's.
        """
        return method

else:
    multitask_hook = _MultitaskHook


class shadowable_property:  # noqa: N801 - used as a decorator, like property
    """
    A read-only property that an attribute of the instance may shadow: `self.name = value` in a user's subclass works.

    A `property` would turn such an assignment, which works on `transformers.Trainer`, into an AttributeError.

    Args:
        getter (`Callable`): Computes the value from the instance.
    """

    def __init__(self, getter: Callable[[Any], Any]) -> None:
        self.getter = getter
        self.__doc__ = getter.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self.getter(instance)
