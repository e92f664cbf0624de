"""Tab-separated files, as GLUE writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from .lines import read_lines


def read_tsv(
    file: Path, columns: Collection[str], header: Collection[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a tab-separated file; every value is a string.

    Quotes are characters like any other: GLUE's sentences hold unbalanced ones, at which a CSV parser swallows rows.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that must be there.
        header (`Collection[str]`, *optional*):
            The column names of a file without a header line.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: each row's line, counted from 1, and its values by column.

    Raises:
        [`DataError`]: for a missing column, a row with too few or too many fields, and a file without rows.
    """
    lines = read_lines(file)
    names = list(header) if header is not None else lines[0].split("\t")
    first = 0 if header is not None else 1
    for column in columns:
        if column not in names:
            raise DataError(
                f"there is no column {column!r}, only {', '.join(map(repr, names))}.",
                file,
                1,
                "Use the benchmark's official file.",
            )
    if len(lines) == first:
        raise DataError("holds no rows, only a header.", file, 1, "Download the task's official files again.")
    for number, line in enumerate(lines[first:], start=first + 1):
        values = line.split("\t")
        if len(values) != len(names):
            raise DataError(
                f"expected {len(names)} tab-separated fields ({', '.join(names)}), found {len(values)}.",
                file,
                number,
                "Repair the line, or download the task's official files again.",
            )
        yield number, dict(zip(names, values, strict=True))
