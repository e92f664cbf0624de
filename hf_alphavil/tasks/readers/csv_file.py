"""Reads comma-separated files, as defined by RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, Report, raise_error
from .columns import check_header
from .lines import read_file_text

#: The longest field that the csv module accepts on every platform (its default, 128 KiB, is too short for a book).
FIELD_LIMIT = 2**31 - 1


def read_csv(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a comma-separated file. Every value is a string. Quoted fields may contain commas, quotes and line ends.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have.
        header (`Collection[str]`, *optional*):
            The column names of a file without a header line.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: The line on which each row begins, counted from 1, and its values by
        column.

    Raises:
        DataError: If a column is missing, a row has too few or too many fields, quotes are not closed or are followed
            by text, or the file has no rows.
    """
    csv.field_size_limit(FIELD_LIMIT)
    # Blank lines at the end are dropped; a blank line in the middle is a row without fields.
    rows = csv.reader(io.StringIO(read_file_text(file).rstrip("\r\n"), newline=""), strict=True)
    names = list(header) if header is not None else None
    if names is not None:
        check_header(names, columns, file)
    count = 0
    while True:
        start = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            break
        except csv.Error as error:  # the parser has lost its place
            advice = "Double the quotes inside quoted fields, or save the file as TSV, where quotes are characters."
            report(DataError(f"is not CSV ({error}); nothing after this line was read.", file, start, advice))
            return
        if names is None:
            names = values
            check_header(names, columns, file)
            continue
        count += 1
        if len(values) == len(names):
            yield start, dict(zip(names, values, strict=True))
        else:
            report(
                DataError(
                    f"expected {len(names)} comma-separated fields ({', '.join(names)}), found {len(values)}.",
                    file,
                    start,
                    "Repair the line; put a field that holds a comma in double quotes.",
                )
            )
    if count == 0:
        raise DataError("holds no rows, only a header.", file, 1, "Write some, or download the data again.")
