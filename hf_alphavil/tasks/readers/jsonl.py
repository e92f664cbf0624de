"""Reads files with one JSON object per line, such as SuperGLUE's."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ...files.json_file import distinct_keys
from ..errors import DataError, Report, raise_error
from .columns import missing_column
from .lines import read_lines


def read_jsonl(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a file with one JSON object per line.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The keys that every object must have, with dots into objects inside it.
        header (`Collection[str]`, *optional*):
            Not used: the objects have keys.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and its values by key.

    Raises:
        DataError: If the file has another format, a line is not a JSON object, or a key is missing or occurs twice.
    """
    lines = read_lines(file)
    _check_format(lines, file)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line, object_pairs_hook=distinct_keys)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            advice = "Repair the line, or download the task's official files again."
            report(DataError(f"is not JSON ({reason}).", file, number, advice))
            continue
        fault = object_fault(row, columns, file, number)
        if fault is None:
            yield number, row
        else:
            report(fault)


def _check_format(lines: list[str], file: Path) -> None:
    """Refuses a file of another format, in which every line would be a fault."""
    first = lines[0].strip()
    if len(lines) > 1 and not any(line.lstrip().startswith("{") for line in lines):
        raise DataError(
            f"no line is a JSON object; the first is {first!r:.80}.",
            file,
            1,
            "Give the file the suffix of its format, such as .csv, .json or .parquet.",
        )
    if first in ("[", "{") or (first.startswith("[") and _is_whole(lines)):
        raise DataError(
            f"is one JSON {'array' if first[0] == '[' else 'object'}, not an object on each line.",
            file,
            1,
            "Name it .json, or write `format: json` below `files`.",
        )


def _is_whole(lines: list[str]) -> bool:
    """Whether the lines together are one list of objects."""
    try:
        whole = json.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return False
    return len(whole) > 0 and all(isinstance(row, dict) for row in whole)


def object_fault(row: Any, columns: Collection[str], file: Path, line: int) -> DataError | None:
    """The error of a row that is not a JSON object with `columns`; `None` if it is one."""
    if not isinstance(row, dict):
        return DataError(f"expected a JSON object, found {type(row).__name__}.", file, line)
    return missing_column(row, columns, file, line)
