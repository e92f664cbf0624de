"""What is odd about the labels of a task, but may be intended."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING, Any

from ..kinds import kind_of
from ..kinds.labels import number_of
from .metrics.spans import has_place

if TYPE_CHECKING:
    from .definition import TaskDefinition
    from .task import Task

#: The most labels that a warning lists.
MAX_LABELS = 20
#: A label is rare if it is in so few rows, and others are in many times more.
_FEW_ROWS = 2
_FEW_IN_100_ROWS = 1
_TIMES_MORE = 10
_ALIKE = 0.75


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


def rare_label_warnings(definition: TaskDefinition, task: Task) -> list[str]:
    """
    Looks for labels that may be mistyped: in a task whose labels are those of its training rows, labels of very few
    training rows and no validation row.

    Args:
        definition (`TaskDefinition`): The task's definition. If it lists the labels, there are no warnings.
        task (`Task`): The task.

    Returns:
        `list[str]`: The warnings, without the task's name.
    """
    if definition.spec.labels is not None or definition.benchmark is not None or task.train is None:
        return []
    counts = label_counts(task, "train") if kind_of(task).has_one_class or task.is_multi_label else None
    if not counts:
        return []
    known = label_counts(task, "validation") if task.validation is not None else None
    warnings = []
    for label, count in counts.items():
        close = _lookalike(label, counts)
        few = count <= _FEW_ROWS or (close is not None and 100 * count < _FEW_IN_100_ROWS * len(task.train))
        if not few or label in (known or ()) or (close is None and median(counts.values()) < _TIMES_MORE * count):
            continue
        rows = f"{count} training row{'' if count == 1 else 's'}"
        place = rows if known is None else f"{rows} and no validation row"
        advice = f"did you mean {close!r}? Correct it" if close is not None else "correct it"
        warnings.append(f"the label {label!r} is in {place}: {advice}, or list the task's labels in `labels`")
    return warnings[:MAX_LABELS]


def label_counts(task: Task, split: str) -> Counter[str] | None:
    """
    Counts the rows with each label, or for token classification the words.

    Args:
        task (`Task`): The task.
        split (`str`): The split.

    Returns:
        `Counter[str]`, *optional*: The counts above 0 by label, in id order; `None` if the split has no labels.
    """
    rows = task.split(split)
    if task.labels is None or split == "test" or task.label_column not in rows.column_names:
        return None
    values: Iterable[Any] = rows[task.label_column][:]
    if kind_of(task).has_label_lists:
        values = [label for row in values for label in row]
    counts = Counter(values)
    return Counter({name: counts[number] for number, name in enumerate(task.labels) if counts[number]})


def _lookalike(label: str, counts: Counter[str]) -> str | None:
    """The label of many more rows that `label` is most like."""
    if number_of(label) is not None:
        return None
    others = [other for other, count in counts.items() if count >= _TIMES_MORE * counts[label]]
    others = [other for other in others if other.strip().casefold() != label.strip().casefold()]  # another warning's
    return next(iter(difflib.get_close_matches(label, others, n=1, cutoff=_ALIKE)), None)
