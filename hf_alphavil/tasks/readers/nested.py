"""What the nested official formats have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


def take(row: Any, key: str, kind: type, place: str) -> Any:
    """
    The value of an object's key, of a given type.

    Raises:
        `ValueError`: where it is not there or of another type; `place` names the object.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"{place} is {row!r:.80}, not an object.")
    if key not in row:
        raise ValueError(f"{place} has no {key!r}, only {', '.join(map(repr, row))}.")
    value = row[key]
    if type(value) is not kind:
        raise ValueError(f"{key!r} of {place} is {value!r:.80}, not {KINDS[kind]}.")
    return value
