"""A property that a subclass's own attribute may shadow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class shadowable_property:  # noqa: N801 - used as a decorator, like property
    """
    A read-only property without a setter's veto: `self.name = value` in a user's subclass shadows it.

    A `property` would turn such an assignment, which works on `transformers.Trainer`, into an AttributeError.

    Args:
        getter (`Callable`): Computes the value from the instance.
    """

    def __init__(self, getter: Callable[[Any], Any]) -> None:
        self.getter = getter
        self.__doc__ = getter.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self.getter(instance)
