"""Which rows of a dataset to look at before training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.spread_rows import spread_rows
from ..data.tables import is_list, is_table, list_lengths
from ..kinds.predictions import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS_AT_ONCE = 10_000


def notable_rows(rows: Any, numbers: Sequence[int] | None, columns: Sequence[str]) -> Iterable[int]:
    """
    Numbers of the rows that show whether all rows can be read.

    Of a `datasets.Dataset` without a transform, all rows count: those with the least and the largest values and
    lengths are chosen. Of any other dataset, these are up to 10,000 rows.

    Args:
        rows (`Dataset`): A map-style dataset.
        numbers (`Sequence[int]`, *optional*): The rows that count. Defaults to all.
        columns (`Sequence[str]`): The columns that count.

    Returns:
        `Iterable[int]`: Numbers of rows of `rows`. The first is that of the first row.
    """
    if is_table(rows):
        return _with_extremes(rows, numbers, [name for name in columns if name in rows.column_names])
    places = spread_rows(len(rows) if numbers is None else len(numbers))
    return places if numbers is None else (numbers[place] for place in places)


def _with_extremes(rows: Dataset, numbers: Sequence[int] | None, columns: list[str]) -> Iterator[int]:
    if not columns:
        yield 0 if numbers is None else numbers[0]
        return
    chosen = rows.select_columns(columns) if numbers is None else rows.select_columns(columns).select(numbers)
    start = 0
    for table in chosen.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        for place in sorted({0} | _extremes([table[name].combine_chunks() for name in columns])):
            yield start + place if numbers is None else numbers[start + place]
        start += len(table)


def _extremes(columns: Sequence[Any]) -> set[int]:
    """Places of the rows with the least and the largest values and lengths, and with lengths that differ most."""
    import pyarrow

    found: set[int] = set()
    sizes: list[np.ndarray] = []
    for column in columns:
        array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
        places = np.arange(len(array))
        if array.null_count:
            found.add(int(_is_null(array).argmax()))
        if is_list(array.type):
            sizes.append(list_lengths(array))
        elif pyarrow.types.is_integer(array.type) and not array.null_count:
            sizes.append(array.to_numpy(zero_copy_only=False).astype(np.int64))
        while is_list(array.type):
            lengths = list_lengths(array)
            found |= _ends(lengths, places)
            places, array = np.repeat(places, lengths), array.flatten()
        if array.null_count:
            found.add(int(places[_is_null(array).argmax()]))
        elif pyarrow.types.is_integer(array.type) or pyarrow.types.is_floating(array.type):
            values = array.to_numpy(zero_copy_only=False)
            counts = values != IGNORED
            found |= _ends(values[counts], places[counts]) | _ends(values[~counts], places[~counts])
    for size in sizes[1:]:
        found |= _ends(size - sizes[0], np.arange(len(size)))
    return found


def _ends(values: np.ndarray, places: np.ndarray) -> set[int]:
    return {int(places[values.argmin()]), int(places[values.argmax()])} if len(values) else set()


def _is_null(array: Any) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)
