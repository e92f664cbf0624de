"""What is odd about the labels of a task, but may be intended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .metrics.spans import has_place

if TYPE_CHECKING:
    from .task import Task

#: The most labels that a warning lists.
MAX_LABELS = 20


def label_warnings(task: Task) -> list[str]:
    """
    Looks for labels that differ only in case or spaces, and for tags in a scheme that `span_f1` does not read.

    Args:
        task (`Task`): The task.

    Returns:
        `list[str]`: The warnings, without the task's name.
    """
    labels, warnings = task.labels or (), []
    spellings = Counter(label.strip().casefold() for label in labels)
    if alike := [label for label in labels if spellings[label.strip().casefold()] > 1]:
        warnings.append(f"the labels {', '.join(map(repr, alike[:MAX_LABELS]))} differ only in case or spaces")
    if "span_f1" in task.metrics and (odd := [label for label in labels if not has_place(label)]):
        if {"O", *odd}.issuperset(labels):
            warnings.append(
                "span_f1 counts spans of B- and I- labels, but no label starts with B- or I-: did you mean accuracy?"
            )
        else:
            warnings.append(
                f"span_f1 counts every word with the label {' or '.join(odd[:MAX_LABELS])} as a span: it reads "
                "IOB, IOBES, BILOU and BMES, with a prefix and a dash, as B-PER"
            )
    return warnings
