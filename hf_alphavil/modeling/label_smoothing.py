"""Label smoothing per task, over the classes that each row has. Tasks without classes are not smoothed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kinds import find_kind
from ..kinds.base import TaskKind


def smoother_for(smoother: Any, kind: str | None, inputs: Mapping[str, Any]) -> Any:
    """
    Finds the label smoother for one batch.

    Args:
        smoother (`LabelSmoother`, *optional*): Trainer's label smoother, if label smoothing is on.
        kind (`str`, *optional*): The task's kind, if known.
        inputs (`Mapping[str, Any]`): The batch.

    Returns:
        `Callable`, *optional*: The smoother. `None` without label smoothing, and for regression and multi-label tasks,
        because their rows do not have one class each.
    """
    if smoother is None:
        return None
    task_kind = find_kind(kind) if kind is not None else TaskKind()
    return task_kind.label_smoother(smoother, inputs)
