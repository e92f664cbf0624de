"""JSON files that are complete or absent, and JSON objects whose keys are distinct."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .atomic_file import atomic_write


def write_json(path: Path, value: Any) -> None:
    """
    Writes a value as JSON with [`atomic_write`].

    Args:
        path (`Path`): The file.
        value (`Any`): Any value that JSON can represent.
    """
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    A JSON object's values by key, as a hook for `json.loads`, which would otherwise silently keep the last of two
    values.

    Raises:
        ValueError: If a key occurs twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return values
