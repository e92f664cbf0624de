"""Reads plain text, one row per line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, Report, raise_error
from .columns import check_header
from .lines import read_lines


def read_text(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads plain text: each line that is not blank is a row with the one column `"text"`.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have: `"text"`, or the one name in `header`.
        header (`Collection[str]`, *optional*):
            Another name for the column.
        report (`Callable`, *optional*):
            Not used: no line can be faulty.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and its text.

    Raises:
        DataError: If there are other columns or no text.
    """
    names = list(header) if header is not None else ["text"]
    check_header(names, columns, file)
    rows = [(number, line) for number, line in enumerate(read_lines(file), start=1) if line.strip()]
    if not rows:
        raise DataError("holds only blank lines.", file, 1)
    for number, line in rows:
        yield number, {names[0]: line}
