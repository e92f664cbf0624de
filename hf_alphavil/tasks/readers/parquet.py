"""Reads Parquet files."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, Report, raise_error
from .columns import missing_column, whole_again
from .lines import read_bytes


def read_parquet(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads a Parquet file.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have, with dots into structs.
        header (`Collection[str]`, *optional*): Not used, because the file contains its column names.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's number, counted from 0, and its values by column. Whole
        numbers that pandas made floats, because one is missing, are whole again.

    Raises:
        DataError: If the file is not Parquet or has no rows, or if a column is missing or occurs twice.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        # From memory, so that pyarrow does not infer columns from the names of folders.
        table = pyarrow.parquet.ParquetFile(io.BytesIO(read_bytes(file))).read()
        table.validate(full=True)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"is not a Parquet file that can be read ({reason}).", file) from None
    if not rows:
        raise DataError("holds no rows.", file)
    for column in {name for path in columns for name in (path, path.split(".")[0])}:
        if table.column_names.count(column) > 1:  # a row would hold only the last
            raise DataError(f"the column {column!r} occurs twice.", file, advice="Rename one of the two.")
    for column in columns:
        if column in table.column_names and pyarrow.types.is_floating(table.schema.field(column).type):
            for row, value in zip(rows, whole_again([row[column] for row in rows]), strict=True):
                row[column] = value
    for number, row in enumerate(rows):
        fault = missing_column(row, columns, file, None)
        if fault is None:
            yield number, row
        else:
            report(fault)
