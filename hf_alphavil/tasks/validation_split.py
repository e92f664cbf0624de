"""A validation split for tasks that have none."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ..data.grouped_split import split_groups
from ..data.stratified_draw import draw_by_class
from ..kinds import TaskSpec, kind_of
from .definition import TaskDefinition

if TYPE_CHECKING:
    from datasets import Dataset

#: Seed of the draw. It is fixed, because scores can be compared only if all runs hold out the same rows.
SEED = 0


def hold_out_validation(rows: Dataset, definition: TaskDefinition) -> dict[str, Dataset]:
    """
    Splits training rows by the definition's `validation_fraction`: stratified by label if a row's label is one class,
    and with the rows of a group together.

    Args:
        rows (`datasets.Dataset`):
            The training rows.
        definition (`TaskDefinition`):
            The task.

    Returns:
        `dict[str, Dataset]`: `train` and `validation`, each in the order of `rows`; the same in every run.

    Raises:
        DataError: If there are too few rows.
    """
    spec, fraction = definition.spec, definition.validation_fraction
    assert fraction is not None
    numbers: list[int] = list(range(len(rows)))
    try:
        if spec.group_column:
            train, held_out = split_groups(rows[spec.group_column][:], fraction, SEED)
            if not (train and held_out):
                raise ValueError("its groups of rows are too few or too large")
        else:
            classes, number = _classes(rows, spec), math.ceil(fraction * len(rows))
            if number >= len(rows):
                raise ValueError("no row would be left to train on")
            if classes is None:
                from sklearn.model_selection import train_test_split

                held_out = train_test_split(numbers, test_size=number, random_state=SEED)[1]
            else:
                held_out = draw_by_class(classes, number, SEED)
            train = sorted(set(numbers) - set(held_out))
    except ValueError as error:
        raise definition.source.fault(
            f"validation_fraction={fraction} of {len(rows)} training rows cannot be held out ({error}).",
            definition.key,
            "validation_fraction",
        ) from None
    return {"train": rows.select(sorted(train)), "validation": rows.select(sorted(held_out))}


def _classes(rows: Dataset, spec: TaskSpec) -> list[int] | None:
    """Each row's label, if every label has two rows or more."""
    if not kind_of(spec).has_one_class or spec.label_column not in rows.column_names:
        return None
    labels = rows[spec.label_column][:]
    if not labels or min(Counter(labels).values()) < 2:
        return None
    return labels
