"""Reads tab-separated files, as GLUE writes them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, Report, raise_error
from .columns import check_header
from .lines import read_lines

logger = logging.getLogger(__name__)


def read_tsv(
    file: Path,
    columns: Collection[str],
    header: Collection[str] | None = None,
    report: Report = raise_error,
    skip_short_rows: bool = False,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a tab-separated file. Every value is a string.

    Quotes are ordinary characters: GLUE's sentences have unbalanced ones, for which a CSV parser would swallow rows.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have.
        header (`Collection[str]`, *optional*):
            The column names of a file without a header line.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.
        skip_short_rows (`bool`, *optional*, defaults to `False`):
            Whether to leave out rows with too few fields, with one warning that counts them: some official files
            have such rows.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and its values by column.

    Raises:
        DataError: If a column is missing, a row has too few or too many fields, or the file has no rows.
    """
    lines = read_lines(file)
    names = list(header) if header is not None else lines[0].split("\t")
    first = 0 if header is not None else 1
    check_header(names, columns, file)
    if len(lines) == first:
        raise DataError("holds no rows, only a header.", file, 1, "Write some, or download the data again.")
    short = []
    for number, line in enumerate(lines[first:], start=first + 1):
        values = line.split("\t")
        if len(values) < len(names) and skip_short_rows:
            short.append(number)
        elif len(values) != len(names):
            report(
                DataError(
                    f"expected {len(names)} tab-separated fields ({', '.join(names)}), found {len(values)}.",
                    file,
                    number,
                    "Repair the line, or download the task's official files again.",
                )
            )
        else:
            yield number, dict(zip(names, values, strict=True))
    if short:
        logger.warning(
            "%s: %d rows have fewer than %d fields and are left out, the first on line %d",
            file,
            len(short),
            len(names),
            short[0],
        )
