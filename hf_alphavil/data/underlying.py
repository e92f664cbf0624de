"""What a task's dataset is made of."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Subset

from .task_dataset import TaskDataset


def underlying(dataset: Any) -> tuple[Any, list[int] | None]:
    """
    Finds the dataset inside [`TaskDataset`] and `torch.utils.data.Subset`.

    Args:
        dataset (`Dataset`): A map-style dataset.

    Returns:
        `tuple[Dataset, list[int]]`: The dataset inside, and the numbers of its rows that belong to `dataset`, in
        order; `None` if there is no `Subset`, so that all of them do.
    """
    numbers: list[int] | None = None
    while isinstance(dataset, TaskDataset | Subset):
        if isinstance(dataset, Subset):
            indices = dataset.indices
            numbers = list(indices) if numbers is None else [indices[number] for number in numbers]
        dataset = dataset.dataset
    return dataset, numbers
