"""Turns the labels of raw rows into the ids that a task's rows hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..kinds import TaskSpec, kind_of
from ..kinds.features import dtype_of, item_of
from ..kinds.labels import LabelReader, are_flags, names_numbers
from .errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def with_label_ids(rows: Dataset, spec: TaskSpec, split: str) -> Dataset:
    """
    Replaces names and flags by label ids. Whole numbers are names if a label's name is a number, and otherwise ids.

    Args:
        rows (`datasets.Dataset`): Raw rows. If they hold ids, they are returned as they are.
        spec (`TaskSpec`): The task's settings, with its labels.
        split (`str`): The split, for messages.

    Returns:
        `datasets.Dataset`: The rows. Without the column if it holds no label.

    Raises:
        DataError: If a label is none of the task's.
    """
    column = spec.label_column
    if column not in rows.column_names or rows.format["type"] == "custom":
        return rows
    labels = rows.with_format(None)[column]
    if not _needs_ids(rows.features[column], labels, spec):
        return rows
    labels = labels[:]
    if all(label in (None, "", -1) for label in labels):
        return rows.remove_columns(column)
    kind, reader, ids = kind_of(spec), LabelReader(spec.labels), []
    texts = rows.with_format(None).select_columns([name for name in spec.input_columns if name in rows.column_names])
    for number, (row, label) in enumerate(zip(texts, labels, strict=True)):
        try:
            ids.append(kind.read_label(reader, spec, label, row))
        except (ValueError, KeyError) as error:
            reason = f"task {spec.name!r}, {split} row {number}: {error}"
            raise DataError(reason, advice=_ADVICE if _are_names(spec.labels or ()) else None) from None
    feature = kind.label_feature(spec.labels)
    return rows.remove_columns(column).add_column(column, ids, feature=feature)  # type: ignore[arg-type]


_ADVICE = (
    "Where a label's name is a number, whole numbers are names: give ids as a `datasets.ClassLabel` "
    "(`datasets.Dataset.cast_column`)."
)


def _needs_ids(feature: Any, labels: Any, spec: TaskSpec) -> bool:
    """Whether a column holds anything but ids."""
    item = item_of(feature)
    dtype = dtype_of(feature if item is None else item)
    if dtype == "text" or (dtype == "int" and _are_names(spec.labels or ())):
        return True
    if item is None or not kind_of(spec).reads_flags:
        return False
    if dtype != "int":
        return dtype in ("float", "bool")
    # A list of ids has none twice, so that such a list of 0 and 1, as long as the labels, has flags.
    lists = [label for label in labels[:] if label]
    are_all_flags = all(len(label) == spec.num_labels and are_flags(label) for label in lists)
    return are_all_flags and any(len(set(label)) < len(label) for label in lists)


def _are_names(labels: Sequence[str]) -> bool:
    """Whether whole numbers in rows name labels. The names "0", "1", ... are the ids themselves."""
    return names_numbers(labels) and list(labels) != list(map(str, range(len(labels))))
