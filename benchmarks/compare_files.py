"""Files that are whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """
    Writes a file aside and moves it into its place.

    Args:
        path (`Path`): The file; its folder is made where it is missing.
        text (`str`): Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """
    Writes a value as JSON, in the way of [`write_text`].

    Args:
        path (`Path`): The file.
        value (`Any`): What JSON can write.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
