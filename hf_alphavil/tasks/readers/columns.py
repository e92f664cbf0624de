"""Checks the column names of files, reads columns from nested objects, and mends columns of whole numbers."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError


class MissingColumnError(DataError):
    """
    A column that a file does not have. See [`DataError`] for the other arguments.

    Args:
        column (`str`): The column.
    """

    def __init__(
        self,
        reason: str,
        file: str | Path | None = None,
        line: int | None = None,
        advice: str | None = None,
        column: str = "",
    ) -> None:
        super().__init__(reason, file, line, advice)
        self.column = column


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
            if odd is None:
                raise _missing(names, column, file, 1)
            raise DataError(
                f"there is no column {column!r}, only {names[0]!r}.",
                file,
                1,
                f"Its fields seem to be separated by {odd!r}: save it with commas, or as TSV.",
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
            return _missing(row, column, file, line)
    return None


def _missing(names: Collection[str], column: str, file: Path, line: int | None) -> MissingColumnError:
    spellings = {name.strip().casefold(): name for name in names}
    close = difflib.get_close_matches(column.strip().casefold(), spellings, n=1)
    return MissingColumnError(
        f"there is no column {column!r}, only {', '.join(map(repr, names))}.",
        file,
        line,
        f"Is {spellings[close[0]]!r} meant?" if close else None,
        column=column,
    )


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
