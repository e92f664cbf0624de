"""Which settings a user has changed."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any


def changed_fields(settings: Any) -> dict[str, Any]:
    """
    Lists the fields of a dataclass that are not at their default.

    Args:
        settings (`Any`): An instance of a dataclass.

    Returns:
        `dict[str, Any]`: Values by field.
    """
    return {
        entry.name: value
        for entry in fields(settings)
        if entry.init and (value := getattr(settings, entry.name)) != _default(entry)
    }


def unchanged_fields(settings: Any) -> set[str]:
    """
    Lists the fields of a dataclass that are at their default, or as empty as it.

    Args:
        settings (`Any`): An instance of a dataclass.

    Returns:
        `set[str]`: The fields.
    """
    values = {entry.name: (getattr(settings, entry.name), _default(entry)) for entry in fields(settings) if entry.init}
    return {name for name, (value, default) in values.items() if value == default or (value == [] and default == "")}


def _default(entry: Any) -> Any:
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default
