"""Checks the head descriptions that a model is built from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from ..kinds import KINDS, find_kind
from ..kinds.features import head_in, is_dataset

# Names become parts of parameter names, of metric names and of file names.
_TASK_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FIELDS = ("kind", "labels", "problem_type")


def check_tasks(tasks: Any) -> dict[str, dict[str, Any]]:
    """
    Checks the tasks of a model and completes every head description.

    Args:
        tasks (`dict[str, dict | Task | Dataset | DatasetDict]`, `list[Task]` or `list[dict]`):
            From task name to head description, `{"kind", "labels", "problem_type"}`, to an object whose `head` is one,
            or to a dataset whose columns say which head it needs. A saved configuration has a list of descriptions
            instead, each with its `name`, because configuration files sort the keys of dicts. A task with a
            `head_task` has no head: it is evaluated with the head of that task.

    Returns:
        `dict[str, dict]`: Name to `{"kind": str, "labels": list[str] or None, "problem_type": str or None}`, in order.

    Raises:
        TypeError: If `tasks` or one of its values has the wrong type.
        ValueError: If a name, a kind, the labels or the problem type are wrong.
    """
    return {
        _check_name(name): _check_head(name, head_in(name, task) if is_dataset(task) else getattr(task, "head", task))
        for name, task in tasks_by_name(tasks).items()
        if getattr(task, "head_task", None) is None
    }


def tasks_by_name(tasks: Any) -> dict[Any, Any]:
    """
    Returns tasks by name.

    Args:
        tasks (`Mapping` or `Collection`): Tasks by name, or tasks that have a name.

    Raises:
        TypeError: If `tasks` is neither, or one of them has no name.
        ValueError: If two have the same name.
    """
    if isinstance(tasks, Mapping):
        return dict(tasks)
    if isinstance(tasks, str) or not isinstance(tasks, Collection):
        raise TypeError(f"tasks must be a dict from task name to task, or a list of Task, got {type(tasks).__name__}")
    named = list(map(_named, tasks))
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"tasks has {names.count(twice[0])} tasks with the name {twice[0]!r}: leave one out, or pass a dict from "
            "task name to task"
        )
    return dict(named)


def _named(task: Any) -> tuple[Any, Any]:
    if isinstance(task, Mapping) and "name" in task:
        return task["name"], {key: task[key] for key in task if key != "name"}
    if not hasattr(task, "name"):
        raise TypeError(
            f"tasks must be a dict from task name to task, or a list of Task, not of {type(task).__name__}"
        )
    return task.name, task


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or not _TASK_NAME.fullmatch(name):
        raise ValueError(f"a task name is made of 1 to 100 of the characters A-Z a-z 0-9 _ and -, got {name!r:.120}")
    if hasattr(nn.ModuleDict, name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            f"the task name {name!r} is taken: every torch module has an attribute of that name. Use another one, "
            f"such as {name + '_task'!r}"
        )
    return name


def _check_head(name: str, head: Any) -> dict[str, Any]:
    if not isinstance(head, Mapping):
        raise TypeError(f"task {name!r} must be a dict with {_FIELDS} or have a `head` that is one, got {head!r}")
    if unknown := set(head) - set(_FIELDS):
        raise ValueError(f"task {name!r} has unknown fields {sorted(map(str, unknown))}, known are {_FIELDS}")
    kind, labels = head.get("kind"), head.get("labels")
    if kind not in KINDS:
        raise ValueError(f"task {name!r} is of the unknown kind {kind!r}, known are {sorted(KINDS)}")
    if labels is not None:
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"labels of task {name!r} must be a list of strings in id order, got {labels!r}")
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels of task {name!r} must differ from each other, got {labels!r}")
        labels = list(labels)
    try:
        problem_type = find_kind(kind).check_head(labels, head.get("problem_type"))
    except ValueError as error:
        raise ValueError(f"task {name!r}: {error}") from None
    return {"kind": kind, "labels": labels, "problem_type": problem_type}
