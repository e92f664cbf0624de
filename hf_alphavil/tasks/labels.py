"""Labels that the data names: a dataset's own names, and those of training rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..kinds.labels import listed, number_of
from .readers.columns import value_at

if TYPE_CHECKING:
    from datasets import Dataset

#: A column with more distinct values than this does not hold labels.
MAX_LABELS = 1000


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
        ValueError: If the names are the task's labels in another order.
    """
    names = class_names(rows, column)
    if names is not None and labels is not None and names != tuple(labels) and sorted(names) == sorted(labels):
        raise ValueError(
            f"the column {column!r} names its ids {list(names)}, and the labels are {list(labels)}: pass the labels "
            "in the order of the ids, in all splits the same (`datasets.Dataset.align_labels_with_mapping`)"
        )


def check_label_value(value: Any) -> None:
    """
    Checks that a value may be a label.

    Raises:
        ValueError: If the value is missing, is not a string, a whole number or a truth value, or contains half a
            character.
    """
    if value is None:
        raise ValueError("the label None means that it is missing.")
    if value == "":
        raise ValueError("the label is empty.")
    if type(value) not in (str, int, bool):
        raise ValueError(f"the label {value!r:.80} is neither a string nor a whole number.")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the label {value!r:.80} holds a lone surrogate, which is not text.") from None


def infer_labels(values: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """
    The labels of a task that names none: the values in its training rows, sorted.

    Args:
        values (`Iterable[Any]`):
            The label of every row, or of every word.

    Returns:
        `tuple[tuple[str, ...], tuple[Any, ...]]`: Their names, and what the source writes for each.

    Raises:
        ValueError: If there are more than a thousand or fewer than two, or if labels differ only in type.
    """
    found: dict[tuple[type, Any], None] = {}
    for value in values:
        found[type(value), value] = None
        if len(found) > MAX_LABELS:
            raise ValueError(
                f"there are more than {MAX_LABELS} labels. For numbers write `kind: regression`, else `labels`."
            )
    written = tuple(sorted((value for _, value in found), key=_sort_key))
    names = tuple(map(str, written))
    if len(names) < 2:
        raise ValueError(
            f"the training rows hold {listed(written) or 'no label'}; a classification needs two or more."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"the labels {listed(written)} are written in more than one way; write each in one.")
    return names, written


def _sort_key(value: Any) -> tuple[bool, int, str]:
    number = number_of(value)
    return number is None, number or 0, str(value)
