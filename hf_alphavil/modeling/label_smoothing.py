"""Label smoothing by task: over the classes that a row has, and none for tasks without classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kinds import find_kind
from ..kinds.base import TaskKind


def smoother_for(smoother: Any, kind: str | None, inputs: Mapping[str, Any]) -> Any:
    """
    The label smoother of one batch.

    Args:
        smoother (`LabelSmoother`, *optional*): Trainer's.
        kind (`str`, *optional*): The task's kind, where it is known.
        inputs (`Mapping[str, Any]`): The batch.

    Returns:
        `Callable`, *optional*: `None` without a smoother, for scores, and for several labels at once, which are not
        one class.
    """
    if smoother is None:
        return None
    task_kind = find_kind(kind) if kind is not None else TaskKind()
    return task_kind.label_smoother(smoother, inputs)
