"""How the multitask trainer overrides `transformers.Trainer` without changing plain mode."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
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
        Makes an override of a `transformers.Trainer` method act only in multitask mode; in plain mode Trainer's runs.

        Args:
            method (`Callable`): The override, with the name and signature of Trainer's method.
        """
        return method

else:
    multitask_hook = _MultitaskHook


class shadowable_property:  # noqa: N801 - used as a decorator, like property
    """
    A read-only property that an instance attribute may shadow, so that a user's subclass can set `self.name = value`.

    A `property` would turn such an assignment, which works on `transformers.Trainer`, into an AttributeError.

    Args:
        getter (`Callable`): Computes the value from the instance.
    """

    def __init__(self, getter: Callable[[Any], Any]) -> None:
        self.getter = getter
        self.__doc__ = getter.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self.getter(instance)


@contextlib.contextmanager
def noted(where: str) -> Iterator[None]:
    """
    Adds to an error of a `with` block where it happened. Its type and message stay, because Trainer reads them.

    Args:
        where (`str`): The task and the step, in words.
    """
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise


@contextlib.contextmanager
def temporarily(settings: Any, **values: Any) -> Iterator[None]:
    """
    Changes attributes for a `with` block, for code of Trainer that reads them.

    Args:
        settings (`Any`): The object, such as the training arguments.
        values (`Any`): Values by attribute. The old ones come back at the end, after an error too.
    """
    before = {name: getattr(settings, name) for name in values}
    try:
        for name, value in values.items():
            setattr(settings, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
