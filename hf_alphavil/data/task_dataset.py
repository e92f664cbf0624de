"""Datasets and batches that carry the name of their task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sized
from typing import Any

import torch
from torch.utils.data import Dataset

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
        if not hasattr(dataset, "__getitem__") or not isinstance(dataset, Sized):
            raise TypeError(
                f"the dataset of task {task!r} is a {type(dataset).__name__}, which has no length or no random "
                "access: multitask training needs a map-style dataset. Convert a `datasets.IterableDataset` with "
                "`datasets.Dataset.from_list(list(iterable))`"
            )
        self.dataset: Any = dataset
        self.task = task

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], TASK_KEY: self.task}

    def labels(self) -> list[Any] | None:
        """`list`, *optional*: The label of every row; `None` if the dataset has no labels."""
        for name in ("labels", "label"):
            columns = getattr(self.dataset, "column_names", None)
            if isinstance(columns, list):
                if name in columns:
                    return list(self.dataset[name])
            elif len(self) > 0 and name in self.dataset[0]:
                return [self.dataset[i][name] for i in range(len(self))]
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

    def _collate(self, task: str, examples: list[dict[str, Any]]) -> Any:
        batch = self.collators[task](
            [
                {
                    name: value
                    for name, value in example.items()
                    if name not in self.dropped and self._keeps(name, value)
                }
                for example in examples
            ]
        )
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
