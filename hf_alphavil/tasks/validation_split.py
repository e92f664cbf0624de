"""A validation split for tasks that come without one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from datasets import Dataset
from sklearn.model_selection import train_test_split

from ..data.grouped_split import split_groups
from .definition import TaskDefinition
from .task_checks import KINDS_WITHOUT_CLASSES

#: Of the draw: the rows that are held out must be the same in every run, or scores could not be compared.
SEED = 0


def hold_out_validation(rows: Dataset, definition: TaskDefinition) -> dict[str, Dataset]:
    """
    Splits training rows by the definition's `validation_fraction`: stratified by label where rows have one each, and
    never apart where they are of one group.

    Args:
        rows (`datasets.Dataset`):
            The training rows.
        definition (`TaskDefinition`):
            The task.

    Returns:
        `dict[str, Dataset]`: `train` and `validation`, each in the order of `rows`; the same in every run.

    Raises:
        [`DataError`]: for too few rows.
    """
    settings, fraction = definition.settings, definition.validation_fraction
    assert fraction is not None
    numbers: list[int] = list(range(len(rows)))
    try:
        if settings.get("group_column"):
            train, held_out = split_groups(rows[settings["group_column"]][:], fraction, SEED)
            if not (train and held_out):
                raise ValueError("its groups of rows are too few or too large")
        else:
            train, held_out = train_test_split(
                numbers, test_size=fraction, random_state=SEED, stratify=_classes(rows, settings)
            )
    except ValueError as error:
        raise definition.source.fault(
            f"validation_fraction={fraction} of {len(rows)} training rows cannot be held out ({error}).",
            definition.key,
            "validation_fraction",
        ) from None
    return {"train": rows.select(sorted(train)), "validation": rows.select(sorted(held_out))}


def _classes(rows: Dataset, settings: Any) -> list[int] | None:
    """Each row's label, where every label is that of two rows or more."""
    column = settings.get("label_column", "label")
    if settings["kind"] in KINDS_WITHOUT_CLASSES or column not in rows.column_names:
        return None
    labels = rows[column][:]
    if not labels or isinstance(labels[0], list) or min(Counter(labels).values()) < 2:
        return None
    return labels
