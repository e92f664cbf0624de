"""Reads files that are one JSON array of objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ...files.json_file import distinct_keys
from ..errors import DataError, Report, raise_error
from .jsonl import object_fault
from .lines import read_file_text

BLANK = " \t\r\n"


def read_json(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a list of JSON objects, or the list that an object holds under `"data"`.

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
        `Iterator[tuple[int, dict[str, Any]]]`: The line on which each row begins, counted from 1, and its values by
        key.

    Raises:
        DataError: If the file is not such a list or has no rows, or if keys are missing or occur twice.
    """
    text = read_file_text(file)
    try:
        whole = json.loads(text, object_pairs_hook=distinct_keys)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        advice = "Repair it; a file with one object a line has the suffix .jsonl."
        raise DataError(f"is not JSON ({reason}).", file, line, advice) from None
    in_data = isinstance(whole, dict) and isinstance(whole.get("data"), list)
    rows = whole["data"] if in_data else whole
    if not isinstance(rows, list):
        raise DataError(
            "expected a list of objects, or an object with one under 'data'.",
            file,
            1,
            "A file with one object a line has the suffix .jsonl.",
        )
    if not rows:
        raise DataError("holds no rows.", file, 1, "Write some, or download the data again.")
    for line, row in zip(_lines_of(text, in_data, len(rows)), rows, strict=True):
        fault = object_fault(row, columns, file, line)
        if fault is None:
            yield line, row
        else:
            report(fault)


def _lines_of(text: str, in_data: bool, number: int) -> list[int]:
    """The lines on which the list's elements begin. The text must be valid JSON."""
    decoder = json.JSONDecoder()
    place = _after_blank(text, 0)
    if in_data:
        place = _place_of_data(text, place, decoder)
    lines, line, counted = [], 1, 0
    place += 1  # the bracket
    for _ in range(number):
        place = _after_blank(text, place)
        line, counted = line + text.count("\n", counted, place), place
        lines.append(line)
        _, place = decoder.raw_decode(text, place)
        place = _after_blank(text, place) + 1  # the comma
    return lines


def _place_of_data(text: str, place: int, decoder: json.JSONDecoder) -> int:
    """Where the value of an object's `"data"` begins."""
    place = _after_blank(text, place + 1)
    while True:
        key, place = decoder.raw_decode(text, place)
        place = _after_blank(text, _after_blank(text, place) + 1)  # the colon
        if key == "data":
            return place
        _, place = decoder.raw_decode(text, place)
        place = _after_blank(text, _after_blank(text, place) + 1)  # the comma


def _after_blank(text: str, place: int) -> int:
    while place < len(text) and text[place] in BLANK:
        place += 1
    return place
