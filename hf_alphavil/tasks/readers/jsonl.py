"""Files with one JSON object a line, as SuperGLUE writes them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from .lines import read_lines


def read_jsonl(
    file: Path, columns: Collection[str], header: Collection[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a file with one JSON object a line.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The keys that every object must have.
        header (`Collection[str]`, *optional*):
            Not used: the objects name their values.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: each row's line, counted from 1, and its values by key.

    Raises:
        [`DataError`]: for a line that is not a JSON object, and a missing key.
    """
    for number, line in enumerate(read_lines(file), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            advice = "Repair the line, or download the task's official files again."
            raise DataError(f"is not JSON ({reason}).", file, number, advice) from None
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object, found {type(row).__name__}.", file, number)
        for column in columns:
            if column not in row:
                raise DataError(
                    f"there is no column {column!r}, only {', '.join(map(repr, row))}.",
                    file,
                    number,
                    "Use the benchmark's official file.",
                )
        yield number, row
