"""Reads the nested official formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, Report
from .jsonl import read_jsonl

KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


def read_nested(
    file: Path, flatten: Callable[[dict[str, Any]], Iterator[dict[str, Any]]], report: Report
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads JSON objects that each hold several rows.

    Args:
        file (`Path`): A file with one object per line.
        flatten (`Callable`): Turns an object into its rows. Raises `ValueError` if the object has another form.
        report (`Callable`):
            Called with the error of every faulty object. If it returns, the whole object is skipped.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and its values.
    """
    for line, nested in read_jsonl(file, (), report=report):
        try:
            rows = list(flatten(nested))
        except ValueError as error:
            report(DataError(str(error), file, line, "Use the benchmark's official file."))
            continue
        for row in rows:
            yield line, row


def take(row: Any, key: str, kind: type, place: str) -> Any:
    """
    The value of a key of an object, checked for its type.

    Raises:
        ValueError: If it is missing or of another type. `place` describes the object in the message.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"{place} is {row!r:.80}, not an object.")
    if key not in row:
        raise ValueError(f"{place} has no {key!r}, only {', '.join(map(repr, row))}.")
    value = row[key]
    if type(value) is not kind:
        raise ValueError(f"{key!r} of {place} is {value!r:.80}, not {KINDS[kind]}.")
    return value
