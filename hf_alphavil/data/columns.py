"""Selection of columns from datasets, including wrapped ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
from torch.utils.data import Subset

from .task_dataset import TaskDataset


def select_columns(dataset: Any, columns: Sequence[str], rows: Sequence[int] | None = None) -> datasets.Dataset:
    """
    Selects columns and rows of any map-style dataset.

    Args:
        dataset (`Dataset`): A map-style dataset, a `TaskDataset` or a torch `Subset` of one.
        columns (`Sequence[str]`): The names of the columns.
        rows (`Sequence[int]`, *optional*): Row indices. Defaults to all rows.

    Returns:
        `datasets.Dataset`: The columns, with rows in the order of `rows`.

    Raises:
        ValueError: If a column is missing.
    """
    if isinstance(dataset, TaskDataset):
        return select_columns(dataset.dataset, columns, rows)
    if isinstance(dataset, Subset):
        chosen = list(dataset.indices) if rows is None else [dataset.indices[row] for row in rows]
        return select_columns(dataset.dataset, columns, chosen)
    if isinstance(dataset, datasets.Dataset):
        if missing := [column for column in columns if column not in dataset.column_names]:
            raise ValueError(
                f"the metrics read the columns {', '.join(missing)}, which the dataset lacks; it has "
                f"{', '.join(dataset.column_names)}: tokenise the task's rows with `Task.tokenize`, which keeps them"
            )
        selected = dataset.select_columns(list(columns))
        return selected if rows is None else selected.select(rows)
    numbers = range(len(dataset)) if rows is None else rows
    examples = [dataset[row] for row in numbers]
    if missing := [column for column in columns if any(column not in example for example in examples)]:
        raise ValueError(f"the metrics read the columns {', '.join(missing)}, which the dataset lacks")
    return datasets.Dataset.from_list([{column: example[column] for column in columns} for example in examples])
