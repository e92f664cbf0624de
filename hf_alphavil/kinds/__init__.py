"""
The kinds of task, one file each: settings, inputs, head, metrics and predictions of all tasks of a kind.

The rest of the package calls the methods of [`TaskKind`] and never asks which kind a task is. Nothing here depends on
the multitask model, on training or on files of rows.
"""

from __future__ import annotations

from typing import Any

from .base import TaskKind
from .masked_lm import MaskedLM
from .multiple_choice import MultipleChoice
from .regression import Regression
from .sequence_classification import SequenceClassification
from .spec import TaskSpec
from .submission_format import SubmissionFormat
from .token_classification import TokenClassification

#: Every kind by its name. To add a kind, add a line here or call [`register_kind`].
KINDS: dict[str, TaskKind] = {
    kind.name: kind
    for kind in (
        SequenceClassification(),
        Regression(),
        MultipleChoice(),
        TokenClassification(),
        MaskedLM(),
    )
}


def register_kind(kind: TaskKind) -> None:
    """
    Registers a kind, so that tasks and heads can refer to it by its `name`.

    Args:
        kind (`TaskKind`): The kind.

    Raises:
        ValueError: If another kind has the name.
    """
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already; give yours another name")
    KINDS[kind.name] = kind


def find_kind(name: str, problem_type: str | None = None) -> TaskKind:
    """
    Finds a kind by its name and problem type.

    Args:
        name (`str`): A key of `KINDS`.
        problem_type (`str`, *optional*): A task's or a head's problem type.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in KINDS:
        raise ValueError(f"unknown kind {name!r}; pass one of {', '.join(KINDS)}")
    return KINDS[name].of_problem_type(problem_type)


def kind_of(task: Any) -> TaskKind:
    """
    The kind of a task.

    Args:
        task (`TaskSpec` or `Task`): Anything with `kind` and `problem_type`.
    """
    return find_kind(task.kind, task.problem_type)


__all__ = [
    "KINDS",
    "SubmissionFormat",
    "TaskKind",
    "TaskSpec",
    "find_kind",
    "kind_of",
    "register_kind",
]
