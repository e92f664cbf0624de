"""Checks the column names of files, reads columns from nested objects, and mends columns of whole numbers."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError

ADVICE = (
    "Name the file's own column in `columns`, or the labels' in `label_column`; a benchmark's file must be the "
    "official one."
)


def check_header(names: list[str], columns: Collection[str], file: Path) -> None:
    """
    Checks the column names of a file.

    Raises:
        DataError: If a column is missing or occurs twice.
    """
    for column in columns:
        if column not in names:
            if names in ([], [""]):
                raise DataError("there is no header: the line is blank.", file, 1, "Remove the line.")
            odd = next((mark for mark in ";|\t" if len(names) == 1 and mark in names[0]), None)
            raise DataError(
                f"there is no column {column!r}, only {', '.join(map(repr, names))}.",
                file,
                1,
                _advice(names, column)
                if odd is None
                else f"Its fields seem to be separated by {odd!r}: save it with commas, or as TSV.",
            )
        if names.count(column) > 1:
            raise DataError(f"the column {column!r} occurs twice.", file, 1, "Rename one of the two.")


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """
    The value of a column. Dots lead into nested objects: `"target.span"` is the value of `span` in `target`.

    Raises:
        KeyError: If there is none.
    """
    if column in row:
        return row[column]
    first, dot, rest = column.partition(".")
    if dot and isinstance(row.get(first), Mapping):
        return value_at(row[first], rest)
    raise KeyError(column)


def missing_column(row: Mapping[str, Any], columns: Collection[str], file: Path, line: int | None) -> DataError | None:
    """The error of an object that lacks a column; `None` if it has all."""
    for column in columns:
        try:
            value_at(row, column)
        except KeyError:
            return DataError(
                f"there is no column {column!r}, only {', '.join(map(repr, row))}.",
                file,
                line,
                _advice(row, column),
            )
    return None


def _advice(names: Collection[str], column: str) -> str:
    spellings = {name.strip().casefold(): name for name in names}
    close = difflib.get_close_matches(column.strip().casefold(), spellings, n=1)
    return f"Is {spellings[close[0]]!r} meant? {ADVICE}" if close else ADVICE


def whole_again(values: list[Any]) -> list[Any]:
    """
    Undoes what pandas does to whole numbers with a gap: it makes them floats, and the gap NaN.

    Args:
        values (`list[Any]`): A column of floats.

    Returns:
        `list[Any]`: The whole numbers, with `None` in the gaps; the same values if nothing is missing, or a number has
        a fraction.
    """
    present = [value for value in values if value is not None and value == value]
    if len(present) == len(values) or not all(float(value).is_integer() for value in present):
        return values
    return [int(value) if value is not None and value == value else None for value in values]
