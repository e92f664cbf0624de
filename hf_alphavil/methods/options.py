"""The options of one method: a small dataclass, set by `method_kwargs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class NoOptions:
    """The options of a method without options."""


def read_options(options: type, given: Mapping[str, Any] | str | None, method: str) -> Any:
    """
    A method's options from the user's `method_kwargs`.

    Args:
        options (`type`): A dataclass whose fields all have defaults; its `__post_init__` may check values.
        given (`Mapping[str, Any]` or `str`, *optional*): Values by name, or the same as JSON. Others keep defaults.
        method (`str`): The method's name, for messages.

    Returns:
        `Any`: An instance of `options`.

    Raises:
        ValueError: If the text is not JSON, the method has no such option, or a value's type is not the default's.
    """
    known = {field.name: field.default for field in fields(options)}
    assert MISSING not in known.values(), "every option has a default"
    values = _read_json(given)
    for name, value in values.items():
        if name not in known:
            listed = ", ".join(f"{name} (default {default!r})" for name, default in known.items())
            raise ValueError(
                f"method_kwargs: the method {method!r} has no option {name!r}; "
                + (f"it has {listed}" if known else "it has none: leave `method_kwargs` out")
            )
        if not _fits(value, known[name]):
            raise ValueError(
                f"method_kwargs: {name}={value!r} of the method {method!r} is a {type(value).__name__}: pass a "
                f"{type(known[name]).__name__}, like the default {known[name]!r}"
            )
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def require(name: str, value: Any, valid: bool, wanted: str) -> None:
    """
    Checks an option's value.

    Args:
        name (`str`): The option.
        value (`Any`): Its value.
        valid (`bool`): Whether the value is allowed.
        wanted (`str`): What to pass instead.

    Raises:
        ValueError: If it is not valid.
    """
    if not valid:
        raise ValueError(f"method_kwargs: {name}={value!r}: pass {wanted}")


def _read_json(given: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    example = """such as '{"c": 0.4}'"""
    try:
        values = json.loads(given) if isinstance(given, str) else given or {}
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"method_kwargs={given!r:.200} is not JSON ({error}): pass options by name, {example}"
        ) from error
    if not isinstance(values, Mapping):
        raise ValueError(f"method_kwargs={given!r}: pass options by name, {example}")
    return values


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, (list, tuple) if isinstance(default, tuple) else type(default))
