"""The metric that selects the best model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..settings import MultitaskSettings

if TYPE_CHECKING:
    from ..tasks import Task


def choose_best_metric(args: MultitaskSettings, names: Sequence[str], target: Task | None) -> None:
    """
    Resolves `metric_for_best_model` to the full name of a metric, `eval_<task>_<metric>`.

    - `None`, or `loss`, which TrainingArguments sets instead of `None`: the target's main metric, or the target's loss
      if there is no [`Task`] to define a main metric. The task defines whether a greater main metric is better.
    - A metric without a task, such as `accuracy`: the target's metric. Greater is better, except for a loss.
    - A metric that starts with the name of a task, with or without `eval_`: that task's metric. `greater_is_better`
      does not change.

    Args:
        args (`MultitaskSettings`):
            The settings. Their `metric_for_best_model` and `greater_is_better` are set in place.
        names (`Sequence[str]`): Names of all tasks.
        target (`Task`, *optional*): The target, if the user passed [`Task`] objects.
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
