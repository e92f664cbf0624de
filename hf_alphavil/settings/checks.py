"""Checks of settings. Errors name the field, its value and what to pass instead."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def require(settings: Any, name: str, valid: bool, wanted: str) -> None:
    """
    Checks the value of a setting.

    Args:
        settings (`Any`): The settings.
        name (`str`): The field.
        valid (`bool`): Whether its value is allowed.
        wanted (`str`): What to pass instead.

    Raises:
        ValueError: If the value is not allowed.
    """
    if not valid:
        raise ValueError(f"{name}={getattr(settings, name)!r:.300}: pass {wanted}")


def require_choices(settings: Any, group: type) -> None:
    """
    Checks every field of a group that lists its choices in its metadata, or is a flag. The default `None` needs no
    choice.

    `HfArgumentParser` makes the same check on the command line; this one covers values that come from Python code or
    from a file.

    Args:
        settings (`Any`): The settings.
        group (`type`): The dataclass whose fields are checked.

    Raises:
        ValueError: If a value is not one of its field's choices, or that of a flag is neither true nor false.
    """
    for entry in fields(group):
        if choices := entry.metadata.get("choices"):
            value = getattr(settings, entry.name)
            valid = value in choices or (value is None and entry.default is None)
            require(settings, entry.name, valid, f"one of {', '.join(choices)}")
        if entry.type in (bool, "bool"):  # a text such as 'False' would count as true
            require(settings, entry.name, getattr(settings, entry.name) in (True, False), "True or False")
