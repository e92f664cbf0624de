"""By which score the best model is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..settings import MultitaskSettings

if TYPE_CHECKING:
    from ..tasks import Task


def choose_best_metric(args: MultitaskSettings, names: Sequence[str], target: Task | None) -> None:
    """
    Resolves `metric_for_best_model` to a score of the target, `eval_<target>_<metric>`.

    `None` and `loss` (which TrainingArguments fills in for `None`) become the target's main metric, or its loss where
    no `Task` says which that is; a bare metric such as `accuracy` is the target's; a name that starts with a task's
    stays. The direction of the main metric is the task's; a loss is better the smaller it is.

    Args:
        args (`MultitaskSettings`): Its `metric_for_best_model` and `greater_is_better` are set.
        names (`Sequence[str]`): All tasks.
        target (`Task`, *optional*): The target.
    """
    metric = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if any(metric.startswith(f"{name}_") for name in names):
        args.metric_for_best_model = f"eval_{metric}"
        return
    if metric == "loss" and target is not None:
        metric = target.main_metric
        args.greater_is_better = target.greater_is_better
    else:
        args.greater_is_better = not metric.endswith("loss")
    args.metric_for_best_model = f"eval_{args.target_task}_{metric}"
