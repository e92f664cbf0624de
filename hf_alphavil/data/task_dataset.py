"""Datasets and batches that carry the name of their task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from .row_batches import read_rows

#: Key of the task's name in an example, in a batch and in the arguments of `forward`.
TASK_KEY = "task"


class TaskDataset(Dataset):
    """
    A map-style dataset whose examples carry the name of their task.

    Args:
        dataset (`torch.utils.data.Dataset` or `datasets.Dataset`):
            Any map-style dataset whose examples are mappings from column to value.
        task (`str`): The task's name, added to every example under `"task"`.

    Raises:
        TypeError: If the dataset is iterable-style or has no length.
    """

    def __init__(self, dataset: Any, task: str) -> None:
        if reason := _unsuitable(dataset):
            raise TypeError(f"the dataset of task {task!r} is a {type(dataset).__name__}, {reason}")
        self.dataset: Any = dataset
        self.task = task

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.read(index), TASK_KEY: self.task}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of a batch. torch's `DataLoader` calls it, if it exists, instead of reading row by row."""
        rows = read_rows(self.dataset, indices)
        if rows is None:
            return [self[index] for index in indices]
        return [{**row, TASK_KEY: self.task} for row in rows]

    def read(self, index: int, what: str = "row") -> Mapping[str, Any]:
        """
        A row of the dataset inside.

        Args:
            index (`int`): The row's number.
            what (`str`, *optional*, defaults to `"row"`): What rows are, for messages.

        Raises:
            ValueError: If the dataset cannot give it.
            TypeError: If it is not a mapping.
        """
        try:
            row = self.dataset[index]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, IndexError) and index >= len(self):
                raise  # it ends iteration
            raise ValueError(
                f"{what} {index} of task {self.task!r} cannot be read: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(row, Mapping):
            raise TypeError(
                f"{what} {index} of task {self.task!r} is a {type(row).__name__}: make it a dictionary from the names "
                "of the model's inputs to their values, such as {'input_ids': [...], 'labels': 0}"
            )
        return row

    @property
    def label_name(self) -> str | None:
        """`str`, *optional*: The column of the labels, by the first row; `None` if the dataset has no labels."""
        columns = getattr(self.dataset, "column_names", None)
        if not isinstance(columns, list):
            columns = list(self.read(0)) if len(self) else []
        return next((name for name in ("labels", "label") if name in columns), None)

    def labels(self) -> list[Any] | None:
        """`list`, *optional*: The label of every row; `None` if the dataset has no labels."""
        name = self.label_name
        if name is None:
            return None
        if isinstance(getattr(self.dataset, "column_names", None), list):
            return list(self.dataset[name][:])  # a column of `datasets` reads row by row unless it is sliced
        return [self._label(number, name) for number in range(len(self))]

    def _label(self, number: int, name: str) -> Any:
        row = self.read(number)
        if name not in row:
            raise ValueError(f"row {number} of task {self.task!r} lacks {name}, which the first row has")
        return row[name]


class TaskConcatDataset(ConcatDataset):
    """
    The datasets of all tasks, one after the other. Unlike those of `ConcatDataset`, a batch's rows are read at once.

    Args:
        datasets (`Iterable[TaskDataset]`): The datasets, in the order of the tasks.
    """

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of a batch, which come task by task."""
        rows: list[dict[str, Any]] = []
        for number, own in groupby(indices, key=partial(bisect_right, self.cumulative_sizes)):
            start = self.cumulative_sizes[number - 1] if number else 0
            rows += self.datasets[number].__getitems__([index - start for index in own])  # type: ignore[attr-defined]
        return rows


def _unsuitable(dataset: Any) -> str | None:
    """Why a dataset has no rows by number; `None` if it has."""
    if isinstance(dataset, Mapping) and 0 not in dataset:
        return (
            "which has columns or splits instead of rows: pass one split, or rows, such as "
            "`datasets.Dataset.from_dict(columns)` makes"
        )
    if isinstance(dataset, str) or hasattr(dataset, "iloc"):
        return "not a dataset of rows: `datasets.load_dataset`, `datasets.Dataset.from_pandas` and others make one"
    if not hasattr(dataset, "__getitem__") or not isinstance(dataset, Sized) or isinstance(dataset, IterableDataset):
        return (
            "which has no length or no random access: multitask training needs a map-style dataset. Convert a "
            "`datasets.IterableDataset` with `datasets.Dataset.from_list(list(iterable))`"
        )
    return None


#: Key under which the batch of a multi-task step holds one batch per task.
BATCHES_KEY = "batches_by_task"


class TaskCollator:
    """
    Collates the examples of one task and adds the task's name to the batch.

    Examples of several tasks become one batch per task, in a dictionary under `"batches_by_task"`.

    Args:
        collators (`Mapping[str, Callable]`): The data collator of every task.
        columns (`set[str]`, *optional*):
            The columns that the model takes. All others are dropped. `None` keeps every column.
        keep_unknown_tensors (`bool`, *optional*, defaults to `False`):
            Whether to also keep columns that are not in `columns` if they hold numbers or tensors. For models whose
            `forward` takes `**inputs`.
        dropped (`Collection[str]`, *optional*, defaults to none):
            Columns that are never inputs, such as those that only metrics read.
    """

    def __init__(
        self,
        collators: Mapping[str, Callable[[list[dict[str, Any]]], Any]],
        columns: set[str] | None = None,
        keep_unknown_tensors: bool = False,
        dropped: Collection[str] = (),
    ) -> None:
        self.dropped = frozenset(dropped) | {TASK_KEY}
        self.collators = dict(collators)
        self.columns = columns
        self.keep_unknown_tensors = keep_unknown_tensors

    def __call__(self, examples: list[dict[str, Any]]) -> Any:
        by_task: dict[str, list[dict[str, Any]]] = {}
        for example in examples:
            by_task.setdefault(example[TASK_KEY], []).append(example)
        batches = {task: self._collate(task, own) for task, own in by_task.items()}
        return {BATCHES_KEY: batches} if len(batches) > 1 else next(iter(batches.values()))

    def selected(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """
        The columns of an example that a collator gets.

        Args:
            example (`Mapping[str, Any]`): The example.
        """
        return {
            name: value for name, value in example.items() if name not in self.dropped and self._keeps(name, value)
        }

    def _collate(self, task: str, examples: list[dict[str, Any]]) -> Any:
        batch = self.collators[task]([self.selected(example) for example in examples])
        # A string, not a tensor of task ids: reading it needs no synchronisation with the device.
        batch[TASK_KEY] = task
        return batch

    def _keeps(self, name: str, value: Any) -> bool:
        if self.columns is None or name in self.columns:
            return True
        return self.keep_unknown_tensors and _is_tensor_like(value)


def _is_tensor_like(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and _is_tensor_like(value[0])
    return isinstance(value, (bool, int, float, torch.Tensor)) or hasattr(value, "__array__")
