"""JSON files that are complete or absent."""

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
