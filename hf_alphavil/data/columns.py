"""Selection of columns from datasets, including wrapped ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Subset

from .tables import is_of_library
from .task_dataset import TaskDataset


def select_columns(dataset: Any, columns: Sequence[str], rows: Sequence[int] | None = None) -> dict[str, list[Any]]:
    """
    Selects columns and rows of any map-style dataset.

    Args:
        dataset (`Dataset`): A map-style dataset, a `TaskDataset` or a torch `Subset` of one.
        columns (`Sequence[str]`): The names of the columns.
        rows (`Sequence[int]`, *optional*): Row indices. Defaults to all rows.

    Returns:
        `dict[str, list]`: The values of each column, in the order of `rows`.

    Raises:
        ValueError: If a column is missing.
    """
    if isinstance(dataset, TaskDataset):
        return select_columns(dataset.dataset, columns, rows)
    if isinstance(dataset, Subset):
        chosen = list(dataset.indices) if rows is None else [dataset.indices[row] for row in rows]
        return select_columns(dataset.dataset, columns, chosen)
    if is_of_library(dataset):
        if missing := [column for column in columns if column not in dataset.column_names]:
            raise ValueError(
                f"the metrics read the columns {', '.join(missing)}, which the dataset lacks; it has "
                f"{', '.join(dataset.column_names)}: tokenise the task's rows with `Task.tokenize`, which keeps them"
            )
        selected = dataset.select_columns(list(columns))
        selected = selected if rows is None else selected.select(rows)
        return {column: selected[column][:] for column in columns}
    numbers = range(len(dataset)) if rows is None else rows
    examples = [dataset[row] for row in numbers]
    if missing := [column for column in columns if any(column not in example for example in examples)]:
        raise ValueError(f"the metrics read the columns {', '.join(missing)}, which the dataset lacks")
    return {column: [example[column] for example in examples] for column in columns}
