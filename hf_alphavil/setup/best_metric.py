"""The metric that selects the best model."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from transformers import SchedulerType
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..kinds import find_kind
from ..settings import MultitaskSettings
from ..settings.checks import require
from ..settings.suggestion import did_you_mean
from .task_setup import TaskSetup

#: The mean of the main metrics of all tasks that evaluations cover.
MEAN = "eval_mean"

#: Schedulers that read the metric. Their own default is that less is better, as for Trainer's default, the loss.
FOLLOW_METRIC = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)


class BestMetric(NamedTuple):
    """
    What the settings of Trainer mean.

    Args:
        metric_for_best_model (`str`):
            The full name in the result of `evaluate()`, `eval_<task>_<metric>` or `eval_mean`.
        greater_is_better (`bool`): Its direction.
    """

    metric_for_best_model: str
    greater_is_better: bool


def owner_of(metric: str, tasks: Iterable[str]) -> str | None:
    """
    The task whose metric a name means. The longest match wins: `mnli_mismatched_accuracy` is not a metric of `mnli`.

    Args:
        metric (`str`): The name, without `eval_`.
        tasks (`Iterable[str]`): The tasks.
    """
    return max((task for task in tasks if metric.startswith(f"{task}_")), key=len, default=None)


def find_best_metric(args: MultitaskSettings, setup: TaskSetup) -> BestMetric:
    """
    Finds the metric that `metric_for_best_model` means.

    - No metric, for which TrainingArguments sets `loss`: the target's main metric, or the target's loss if there is no
      [`Task`] to define a main metric.
    - `loss`, if the user has set it: the target's loss.
    - `mean`: the mean of the main metrics of all tasks that evaluations cover.
    - A metric that starts with the name of a task, with or without `eval_`: that task's metric.
    - Any other metric, such as `accuracy`: the target's.

    `greater_is_better` holds for a metric that the user has named. Without it, the task defines whether a greater
    value is better; for metrics of the user's own, greater is better, except for a loss. Without a name, and for a
    mean, it must not contradict the metric's direction.

    Args:
        args (`MultitaskSettings`): For `metric_for_best_model`, `greater_is_better` and what evaluations give.
        setup (`TaskSetup`): The tasks.

    Raises:
        ValueError: If the task's metrics do not include it, or the tasks' main metrics have no mean.
    """
    given = args.metric_for_best_model
    if given is None or args.is_derived("metric_for_best_model"):
        return _agreed(args, _default_metric(args, setup))
    if given in ("mean", MEAN):
        return _agreed(args, _mean_metric(args, setup))
    task, metric = _split(args, setup, given.removeprefix("eval_"))
    scores = _known_scores(args, setup, task)
    if scores is not None and metric not in scores:
        raise ValueError(
            f"metric_for_best_model={given!r}: an evaluation of task {task!r} gives no {metric!r}: pass one of "
            f"{', '.join(scores)}.{did_you_mean(metric, scores)}"
        )
    if (wish := _wish(args)) is not None:
        greater = wish
    else:
        greater = not given.endswith("loss") if scores is None else scores[metric]
    return BestMetric(f"eval_{task}_{metric}", greater)


def check_best_metric(args: MultitaskSettings, setup: TaskSetup) -> None:
    """
    Checks that evaluations during training can be made, and give the metric if the run needs it.

    Args:
        args (`MultitaskSettings`): The settings, with the full name of the metric.
        setup (`TaskSetup`): The tasks and their validation sets.

    Raises:
        ValueError: If the run needs the metric and no evaluation would give it, or if the target cannot be evaluated.
    """
    if args.eval_strategy == IntervalStrategy.NO:
        return
    if (reader := reader_of_best_metric(args)) is not None:
        _require_metric(args, setup, reader)
    if args.lr_scheduler_type in FOLLOW_METRIC:
        mode, better = _mode(args), "greater" if args.greater_is_better else "less"
        wanted = f"'mode': {mode!r}, or no mode ({args.metric_for_best_model} is better if it is {better})"
        require(args, "lr_scheduler_kwargs", scheduler_kwargs(args)["mode"] == mode, wanted)
    if setup.target not in setup.eval_datasets:
        strategy = IntervalStrategy(args.eval_strategy).value
        raise ValueError(
            f"eval_strategy={strategy!r}, but the target {setup.target!r} has no validation set: pass one in "
            "`eval_dataset`, or eval_strategy='no'"
        )


def reader_of_best_metric(args: Any) -> str | None:
    """`str`, *optional*: The setting that makes Trainer read `metric_for_best_model`, if there is one."""
    if args.load_best_model_at_end:
        return "load_best_model_at_end=True"
    if args.save_strategy == SaveStrategy.BEST:
        return "save_strategy='best'"
    if args.lr_scheduler_type in FOLLOW_METRIC:
        return f"lr_scheduler_type={args.lr_scheduler_type.value!r}"
    return None


def scheduler_kwargs(args: Any) -> dict[str, Any]:
    """`dict[str, Any]`: `lr_scheduler_kwargs`, with the metric's direction for a scheduler that follows the metric."""
    given = args.lr_scheduler_kwargs or {}
    if args.lr_scheduler_type not in FOLLOW_METRIC:
        return given
    return {"mode": _mode(args)} | given


def _mode(args: Any) -> str:
    """The direction of the metric, as schedulers call it."""
    return "max" if args.greater_is_better else "min"


def _default_metric(args: MultitaskSettings, setup: TaskSetup) -> BestMetric:
    task = None if args.prediction_loss_only else setup.tasks.get(setup.target)
    metric, greater = ("loss", False) if task is None else (task.main_metric, bool(task.greater_is_better))
    return BestMetric(f"eval_{setup.target}_{metric}", greater)


def _wish(args: MultitaskSettings) -> bool | None:
    """The direction that the user has given."""
    return None if args.is_derived("greater_is_better") else args.greater_is_better


def _agreed(args: MultitaskSettings, metric: BestMetric) -> BestMetric:
    """Refuses a direction that contradicts that of a metric which the user has not named."""
    if _wish(args) not in (None, metric.greater_is_better):
        best = "greatest" if metric.greater_is_better else "least"
        raise ValueError(
            f"greater_is_better={args.greater_is_better}, but the best model has the {best} "
            f"{metric.metric_for_best_model}: leave it out, or name the metric in `metric_for_best_model`"
        )
    return metric


def mean_score(setup: TaskSetup, tasks: Iterable[str], metrics: Mapping[str, float], prefix: str) -> float:
    """
    The mean of tasks' main metrics.

    Args:
        setup (`TaskSetup`): The tasks.
        tasks (`Iterable[str]`): The evaluated tasks.
        metrics (`Mapping[str, float]`): Their metrics, by full name.
        prefix (`str`): What the names begin with, such as `"eval"`.
    """
    return statistics.fmean(metrics[f"{prefix}_{name}_{setup.tasks[name].main_metric}"] for name in tasks)


def _mean_metric(args: MultitaskSettings, setup: TaskSetup) -> BestMetric:
    given = f"metric_for_best_model={args.metric_for_best_model!r} is the mean of the tasks' main metrics"
    names = setup.evaluated(args.eval_auxiliaries)
    if len(names) < 2:
        raise ValueError(
            f"{given}, but evaluations cover only {names[0]!r}: pass eval_auxiliaries=True, and validation sets of "
            "the auxiliaries"
        )
    lacking = [name for name in names if args.prediction_loss_only or not _has_main_metric(setup, name)]
    if lacking:
        raise ValueError(
            f"{given}, but no main metric of {', '.join(map(repr, lacking))} is known: pass each as a Task, without "
            "`compute_metrics` and prediction_loss_only"
        )
    directions = {name: bool(setup.tasks[name].greater_is_better) for name in names}
    if len(set(directions.values())) > 1:
        better = {greater: [name for name in names if directions[name] is greater] for greater in (True, False)}
        raise ValueError(
            f"{given}, but greater is better for {', '.join(better[True])} and worse for {', '.join(better[False])}: "
            "give the tasks main metrics of one direction (`main_metric`), or name one task's metric"
        )
    return BestMetric(MEAN, directions[names[0]])


def _has_main_metric(setup: TaskSetup, name: str) -> bool:
    return name in setup.tasks and not setup.has_own_metrics(name)


def _split(args: MultitaskSettings, setup: TaskSetup, metric: str) -> tuple[str, str]:
    """The task and the metric that a name without `eval_` means."""
    if metric in (_known_scores(args, setup, setup.target) or {}):
        return setup.target, metric
    owner = owner_of(metric, setup.names)
    return (setup.target, metric) if owner is None else (owner, metric.removeprefix(f"{owner}_"))


def _known_scores(args: MultitaskSettings, setup: TaskSetup, name: str) -> Mapping[str, bool] | None:
    """What an evaluation of a task gives, with directions; `None` if the user's own function decides."""
    if name not in setup.metrics or args.prediction_loss_only:
        return {"loss": False}
    return None if setup.has_own_metrics(name) else {"loss": False, **setup.tasks[name].score_directions}


def tasks_of_best_metric(args: MultitaskSettings, setup: TaskSetup) -> list[str]:
    """
    The tasks on whose validation sets the best model is chosen.

    Args:
        args (`MultitaskSettings`): The settings, with the full name of the metric.
        setup (`TaskSetup`): The tasks.
    """
    if args.metric_for_best_model == MEAN:
        return setup.evaluated(args.eval_auxiliaries)
    metric = (args.metric_for_best_model or "").removeprefix("eval_")
    return [owner_of(metric, setup.names) or setup.target]


def _require_metric(args: MultitaskSettings, setup: TaskSetup, reader: str) -> None:
    """Refuses a metric of a task that evaluations leave out, or whose validation rows have no labels."""
    for name in tasks_of_best_metric(args, setup):
        _require_scores(args, setup, reader, name)


def _require_scores(args: MultitaskSettings, setup: TaskSetup, reader: str, task: str) -> None:
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
    if reads_labels and dataset.label_name is None and trained is not None and trained.label_name is not None:
        raise ValueError(f"{what} the validation rows of task {task!r} have no labels: pass rows that have them")
