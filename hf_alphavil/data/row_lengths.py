"""Lengths of a dataset's rows, in tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .generators import unchanged_generators
from .tables import is_list, is_table, list_lengths
from .task_dataset import TaskDataset
from .underlying import underlying

if TYPE_CHECKING:
    from datasets import Dataset

_INPUT = "input_ids"
_ROWS_AT_ONCE = 10_000


class RowLengths:
    """
    The length of every row of a dataset: its number of `input_ids`, or those of its longest choice.

    Lengths are taken once per dataset.

    Args:
        mode (`str`, *optional*, defaults to `"off"`):
            `auto` takes lengths that a `datasets.Dataset` stores, and those of rows in a list or tuple; `on` reads
            every row of other datasets; `off` takes none.
        column (`str`, *optional*, defaults to `"length"`):
            Column of such rows that holds lengths, if they have one. It comes before `input_ids`.
    """

    def __init__(self, mode: str = "off", column: str = "length") -> None:
        self.mode = mode
        self.column = column
        self._known: WeakKeyDictionary[TaskDataset, list[int] | None] = WeakKeyDictionary()

    def of(self, dataset: TaskDataset) -> list[int] | None:
        """
        The lengths of a dataset's rows.

        Args:
            dataset (`TaskDataset`): The rows.

        Returns:
            `list[int]`, *optional*: The lengths; `None` if they are not wanted or not stored.

        Raises:
            ValueError: With `on`, if a row has no `input_ids`.
        """
        if dataset not in self._known:
            self._known[dataset] = self._take(dataset)
        return self._known[dataset]

    def longest_first(self, dataset: TaskDataset, rows: Sequence[int]) -> list[int]:
        """
        Rows ordered by length, so that passes over neighbours need little padding and the first takes most memory.

        Args:
            dataset (`TaskDataset`): The dataset.
            rows (`Sequence[int]`): Numbers of rows.

        Returns:
            `list[int]`: The rows, longest first; in their own order if the lengths are not known.
        """
        lengths = self.of(dataset)
        return list(rows) if lengths is None else sorted(rows, key=lambda row: -lengths[row])

    def _take(self, dataset: TaskDataset) -> list[int] | None:
        if self.mode == "off":
            return None
        inner, numbers = underlying(dataset)
        lengths = self._stored(inner) if is_table(inner) else None
        if type(inner) in (list, tuple):  # a subclass may make its rows when they are read
            lengths = self._held(inner)
        if lengths is None:
            return _read_lengths(dataset) if self.mode == "on" else None
        return lengths if numbers is None else [lengths[number] for number in numbers]

    def _stored(self, dataset: Dataset) -> list[int] | None:
        if self.column in dataset.column_names:
            return dataset.with_format(None)[self.column][:]
        return _stored_lengths(dataset) if _INPUT in dataset.column_names else None

    def _held(self, rows: Sequence[Any]) -> list[int] | None:
        """The lengths of rows in memory; `None` unless all of them have one."""
        if not all(isinstance(row, Mapping) for row in rows):
            return None
        if all(isinstance(row.get(self.column), int) for row in rows):
            return [row[self.column] for row in rows]
        if all(isinstance(row.get(_INPUT), Sized) for row in rows):
            return [_length_of(row[_INPUT]) for row in rows]
        return None


def _stored_lengths(dataset: Dataset) -> list[int]:
    tables = dataset.select_columns(_INPUT).with_format("arrow").iter(batch_size=_ROWS_AT_ONCE)
    columns = [table[_INPUT].combine_chunks() for table in tables]
    return np.concatenate([_lengths_of(column) for column in columns]).tolist() if columns else []


def _lengths_of(column: Any) -> np.ndarray:
    """The lengths of lists of tokens, or the longest list of each list of choices."""
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        return np.concatenate([_lengths_of(chunk) for chunk in column.chunks])
    lengths = list_lengths(column)
    if not is_list(column.type.value_type):
        return lengths
    of_choices = _lengths_of(column.flatten())
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return np.array([of_choices[a:b].max(initial=0) for a, b in pairwise(starts)], dtype=int)


def _read_lengths(dataset: TaskDataset) -> list[int]:
    lengths = []
    with unchanged_generators(devices=[]):
        for number in range(len(dataset)):
            row = dataset[number]
            ids = row.get(_INPUT) if isinstance(row, Mapping) else None
            if not isinstance(ids, Sized):
                raise ValueError(
                    f"length_grouping='on' (train_sampling_strategy='group_by_length'): row {number} of task "
                    f"{dataset.task!r} has no list of `input_ids`: pass length_grouping='auto'"
                )
            lengths.append(_length_of(ids))
    return lengths


def _length_of(ids: Any) -> int:
    if hasattr(ids, "shape"):  # an array or a tensor, of choices padded to one length if it has two dimensions
        return int(ids.shape[-1])
    if not isinstance(next(iter(ids), None), Sized):
        return len(ids)
    return max(_length_of(choice) for choice in ids if isinstance(choice, Sized))
