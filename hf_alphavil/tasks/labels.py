"""Labels that a dataset itself names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..kinds.features import dtype_of
from .readers.columns import value_at

if TYPE_CHECKING:
    from datasets import Dataset


def class_names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    """The labels that a dataset itself names in a column of ids, or of lists of ids; `None` if it names none."""
    from datasets import ClassLabel

    try:
        feature = value_at(rows.features, column)
    except KeyError:
        return None
    feature = getattr(feature, "feature", feature)  # of a list's items
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def check_label_order(rows: Dataset, column: str, labels: Sequence[str] | None) -> None:
    """
    Checks that rows which name their label ids have a task's labels in its order. Other names are the rows' own.

    Raises:
        ValueError: If the names are the task's labels in another order, or truth values are.
    """
    names = class_names(rows, column)
    if names is not None and labels is not None and names != tuple(labels) and sorted(names) == sorted(labels):
        raise ValueError(
            f"the column {column!r} names its ids {list(names)}, and the labels are {list(labels)}: pass the labels "
            "in the order of the ids, in all splits the same (`datasets.Dataset.align_labels_with_mapping`)"
        )
    holds_truth_values = column in rows.features and dtype_of(rows.features[column]) == "bool"
    if holds_truth_values and labels is not None and [label.lower() for label in labels] == ["true", "false"]:
        raise ValueError(
            f"the column {column!r} holds truth values, of which false is id 0, and the labels are {list(labels)}: "
            f"pass {list(reversed(labels))}"
        )
