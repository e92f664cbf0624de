"""The metric that selects the best model."""

from __future__ import annotations

from typing import Any

from transformers import SchedulerType
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..kinds import find_kind
from ..settings import MultitaskSettings
from .task_setup import TaskSetup


def choose_best_metric(args: MultitaskSettings, setup: TaskSetup) -> None:
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
        setup (`TaskSetup`): The tasks and their validation sets.

    Raises:
        ValueError: If the run needs the metric and no evaluation would give it.
    """
    _resolve(args, setup)
    reader = reader_of_best_metric(args)
    if reader is not None and args.eval_strategy != IntervalStrategy.NO:
        _require_metric(args, setup, reader)


def reader_of_best_metric(args: Any) -> str | None:
    """`str`, *optional*: The setting that makes Trainer read `metric_for_best_model`, if there is one."""
    if args.load_best_model_at_end:
        return "load_best_model_at_end=True"
    if args.save_strategy == SaveStrategy.BEST:
        return "save_strategy='best'"
    if args.lr_scheduler_type in (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY):
        return f"lr_scheduler_type={args.lr_scheduler_type.value!r}"
    return None


def _resolve(args: MultitaskSettings, setup: TaskSetup) -> None:
    target = setup.tasks.get(setup.target)
    metric = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if any(metric.startswith(f"{name}_") for name in setup.names):
        args.metric_for_best_model = f"eval_{metric}"
        return
    if metric == "loss" and target is not None:
        metric = target.main_metric
        args.greater_is_better = target.greater_is_better
    else:
        args.greater_is_better = not metric.endswith("loss")
    args.metric_for_best_model = f"eval_{args.target_task}_{metric}"


def _require_metric(args: MultitaskSettings, setup: TaskSetup, reader: str) -> None:
    """Refuses a metric of a task that evaluations leave out, or whose validation rows have no labels."""
    metric = (args.metric_for_best_model or "").removeprefix("eval_")
    task = max((name for name in setup.names if metric.startswith(f"{name}_")), key=len, default=setup.target)
    what = f"{reader} needs metric_for_best_model={args.metric_for_best_model!r}, but"
    if task not in setup.eval_datasets:
        raise ValueError(f"{what} task {task!r} has no validation set: pass one in `eval_dataset`")
    if not args.eval_auxiliaries and setup.head_of(task) != setup.target:
        raise ValueError(f"{what} evaluations leave the auxiliary task {task!r} out: pass eval_auxiliaries=True")
    dataset = setup.eval_datasets[task]
    if len(dataset) == 0:
        raise ValueError(f"{what} the validation set of task {task!r} has no rows: pass other rows")
    reads_labels = task not in setup.kinds or find_kind(setup.kinds[task]).reads_labels
    trained = setup.train_datasets.get(setup.head_of(task))
    if reads_labels and dataset.labels() is None and trained is not None and trained.labels() is not None:
        raise ValueError(f"{what} the validation rows of task {task!r} have no labels: pass rows that have them")
