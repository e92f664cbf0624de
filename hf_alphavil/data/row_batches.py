"""Reads the rows of a batch at once, which `datasets.Dataset` does several times faster than row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Subset

#: Formats of `datasets.Dataset` in which a row of a batch is the row itself. NumPy may give it another dtype.
_FORMATS = (None, "torch")


def read_rows(dataset: Any, numbers: Sequence[int]) -> list[Mapping[str, Any]] | None:
    """
    Reads rows by the dataset's `__getitems__`.

    Args:
        dataset (`Any`): A map-style dataset.
        numbers (`Sequence[int]`): The rows' numbers.

    Returns:
        `list[Mapping[str, Any]]`, *optional*: The rows, equal to `dataset[number]` each. `None` if they must be read
        one by one: if the dataset has no such method, if a row could depend on its batch, or to say which one fails.
    """
    if not _gives_equal_rows(dataset):
        return None
    try:
        rows = dataset.__getitems__(list(numbers))
    except Exception:  # reading one by one names the row
        return None
    return rows if len(rows) == len(numbers) and all(isinstance(row, Mapping) for row in rows) else None


def _gives_equal_rows(dataset: Any) -> bool:
    while isinstance(dataset, Subset):
        if not _has_own(dataset):
            return False
        dataset = dataset.dataset
    layout = getattr(dataset, "format", None)
    return _has_own(dataset) and (not isinstance(layout, Mapping) or layout.get("type") in _FORMATS)


def _has_own(dataset: Any) -> bool:
    """Whether the class that defines `__getitem__` defines `__getitems__` too. A subclass may override only one."""
    defining = (vars(one) for one in type(dataset).__mro__)
    return next(("__getitems__" in one for one in defining if one.keys() & {"__getitem__", "__getitems__"}), False)
