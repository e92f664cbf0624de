"""The trainer's tasks after all checks: datasets, heads and metrics by task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data import TaskDataset, select_columns
from ..data.row_lengths import RowLengths
from ..kinds import find_kind
from ..methods import METHODS
from ..modeling import MultitaskModel
from ..modeling.tasks import tasks_by_name
from ..tasks.label_warnings import label_warnings
from .checks import check_heads
from .datasets import check_head_tasks, check_target, check_train_datasets, tokenized_split
from .heads import match_heads
from .meta_set import split_meta_set
from .raw_datasets import with_tokenized_rows
from .task_names import check_task_names
from .unused_settings import warn_of_unused_settings

if TYPE_CHECKING:
    from ..settings import MultitaskSettings
    from ..tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskSetup:
    """
    The tasks that a trainer trains and evaluates, with their datasets and metrics.

    Args:
        target (`str`): The target task.
        tasks (`Mapping[str, Task]`):
            The user's [`Task`] objects by name. Empty if the user passed only datasets by task.
        names (`tuple[str, ...]`): Names of all tasks that are trained or evaluated.
        train_datasets (`Mapping[str, TaskDataset]`): The training sets, without the held-out slice.
        eval_datasets (`Mapping[str, TaskDataset]`): The validation sets.
        meta_set (`TaskDataset`, *optional*): The rows on which α is fitted.
        metrics (`Mapping[str, Callable]`): `compute_metrics` of every task that has one.
        kinds (`Mapping[str, str]`): The kind of every task whose kind is known.
        heads (`Mapping[str, dict]`): The descriptions of the model's heads by task, where they are known.
        own_rows (`Collection[str]`): The tasks whose training rows are the user's own, not tokenised here.
        lengths (`RowLengths`): Lengths of rows, for batches of rows of similar length.
        settings (`tuple`): The settings that it was made with, see [`setup_settings`].
    """

    target: str
    tasks: Mapping[str, Task]
    names: tuple[str, ...]
    train_datasets: Mapping[str, TaskDataset]
    eval_datasets: Mapping[str, TaskDataset]
    meta_set: TaskDataset | None
    metrics: Mapping[str, Callable]
    kinds: Mapping[str, str]
    heads: Mapping[str, dict[str, Any]]
    own_rows: Collection[str] = ()
    lengths: RowLengths = field(default_factory=RowLengths)
    settings: tuple[Any, ...] = ()

    def with_heads_of(self, model: nn.Module) -> TaskSetup:
        """
        Checks the model's heads, puts their outputs into the tasks' order of labels, and returns a copy of this set-up
        that includes what the heads say.

        Args:
            model (`torch.nn.Module`): The bare model, without adapters. Its heads may be changed in place.

        Raises:
            ValueError: If a task has no head in a [`MultitaskModel`], or a head of another kind or with other labels.
        """
        if not isinstance(model, MultitaskModel):
            return self
        check_heads(model, map(self.head_of, self.names), self.train_datasets)
        match_heads(model, self.tasks, self.datasets)
        of_heads = {name: head["kind"] for name, head in model.config.tasks.items()}
        return replace(self, kinds={**of_heads, **self.kinds}, heads=model.config.tasks)

    @property
    def datasets(self) -> list[TaskDataset]:
        """`list[TaskDataset]`: All training and validation sets, and the meta set."""
        meta = [self.meta_set] if self.meta_set is not None else []
        return [*self.train_datasets.values(), *self.eval_datasets.values(), *meta]

    def has_kind(self, kind: str) -> bool:
        """Whether some task is of a kind, such as `"masked_lm"`."""
        return kind in (self.kinds.get(name) for name in self.names)

    def head_of(self, name: str) -> str:
        """`str`: The task whose head predicts task `name`: the task itself, unless it is evaluation-only."""
        return head_of(self.tasks, name)

    def evaluated(self, auxiliaries: bool) -> list[str]:
        """
        The tasks that an evaluation without arguments covers: the target first, then those that use its head.

        Args:
            auxiliaries (`bool`): Whether it also covers the auxiliary tasks.
        """
        others = [name for name in self.eval_datasets if auxiliaries or self.head_of(name) == self.target]
        return list(dict.fromkeys([self.target, *others]))

    def num_rows(self, name: str) -> int:
        """`int`: Number of training rows of a task; 0 if it has no training set."""
        return len(self.train_datasets[name]) if name in self.train_datasets else 0

    def has_own_metrics(self, name: str) -> bool:
        """`bool`: Whether a function of the user's own, not a [`Task`], computes the metrics of a task."""
        function, task = self.metrics.get(name), self.tasks.get(name)
        return function is not None and (task is None or function != task.compute_metrics)

    def metrics_on(self, name: str, dataset: Any, rows: Sequence[int] | None = None) -> Callable | None:
        """
        The `compute_metrics` of a task for predictions on a dataset. Some metrics also read columns of the dataset.

        Args:
            name (`str`): The task.
            dataset (`Dataset`): The dataset of the predicted rows.
            rows (`Sequence[int]`, *optional*): Indices of the predicted rows. Defaults to all rows.

        Returns:
            `Callable`, *optional*: The function, or `None` if the task has no metrics.
        """
        compute_metrics, task = self.metrics.get(name), self.tasks.get(name)
        if task is None or not task.score_columns or compute_metrics != task.compute_metrics or dataset is None:
            return compute_metrics
        # The columns are read only when there are labels to score, because test rows may lack them.
        return lambda prediction: task.compute_metrics(prediction, select_columns(dataset, task.score_columns, rows))

    def logits_reduction_of(self, name: str, preprocess_logits: Callable | None) -> Callable | None:
        """
        The function that reduces a task's logits before they are gathered, if there is one.

        Args:
            name (`str`): The task.
            preprocess_logits (`Callable`, *optional*): The user's `preprocess_logits_for_metrics`.

        Returns:
            `Callable`, *optional*: The user's function. Without one, the function of the task's kind: masked language
            modelling reduces logits to the most likely tokens.
        """
        if preprocess_logits is None and name in self.kinds:
            return find_kind(self.kinds[name]).reduce_logits
        return preprocess_logits


def make_task_setup(
    args: MultitaskSettings,
    tasks: Any,
    train_dataset: Any,
    eval_dataset: Any,
    processing_class: Any,
    compute_metrics: Callable | Mapping[str, Callable] | None,
    data_collator: Callable | Mapping[str, Callable] | None = None,
    model: nn.Module | None = None,
) -> TaskSetup:
    """
    Tokenises and checks the trainer's arguments, and holds out the meta set.

    Args:
        args (`MultitaskSettings`): The settings. If `target_task` is empty and there is one task, it is set.
        tasks, train_dataset, eval_dataset, data_collator, model:
            The user's tasks and rows, and what tells how to tokenise raw ones, see [`with_tokenized_rows`]. Training
            and validation sets default to the tasks' rows.
        processing_class (`Any`): The tokenizer, if there is one.
        compute_metrics (`Callable` or `Mapping[str, Callable]`, *optional*):
            One function for all tasks, or functions by task. Defaults to the tasks' metrics.

    Raises:
        ValueError: If the target is missing, a name is that of no task or of two, a task has no training rows, or the
            held-out slice is too small.
        TypeError: If a training set is iterable-style.
    """
    given_rows = train_dataset
    tasks = tasks_by_name(tasks or {})
    check_task_names(
        tasks, train_dataset, model, eval_dataset=eval_dataset, compute_metrics=compute_metrics,
        data_collator=data_collator,
    )  # fmt: skip
    tasks, train_dataset, eval_dataset = with_tokenized_rows(
        args, tasks, train_dataset, eval_dataset, processing_class, data_collator, model
    )
    check_head_tasks(tasks)
    with_heads = {name: task for name, task in tasks.items() if task.head_task is None}
    if train_dataset is None and any(task.train is not None for task in with_heads.values()):
        train_dataset = tokenized_split(with_heads, "train", processing_class, args)
        for name in with_heads:
            if name not in train_dataset:
                raise ValueError(f"task {name!r} has no training rows: give it some, or leave it out of the tasks")
    if eval_dataset is None and any(task.validation is not None for task in tasks.values()):
        eval_dataset = tokenized_split(tasks, "validation", processing_class, args)
    given = list(train_dataset if train_dataset is not None else with_heads)
    args.target_task = target = check_target(args, given)
    evaluated = {name: TaskDataset(dataset, head_of(tasks, name)) for name, dataset in (eval_dataset or {}).items()}
    if args.eval_auxiliaries and all(dataset.task == target for dataset in evaluated.values()):
        logger.warning(
            "A run without validation sets of auxiliaries does not read eval_auxiliaries=True, which has no effect."
        )
    names = tuple(dict.fromkeys([*given, *evaluated, *tasks]))
    trained, meta_set, own_rows = {}, None, list[str]()
    if train_dataset is not None:
        check_train_datasets(train_dataset)
        trained = {
            name: TaskDataset(dataset, name)
            for name, dataset in train_dataset.items()
            if METHODS[args.method].trains_on(name, target)
        }
        warn_of_unused_settings(args, tokenizes=bool(tasks))
        _warn_of_untrained(args, target, with_heads, trained)
        own_rows = _rows_of_the_user(given_rows, trained)
        if tasks and "max_length" in args.given and own_rows:
            logger.warning(
                "max_length=%d does not change the rows of %s, which you have tokenised.",
                args.max_length, ", ".join(own_rows),
            )  # fmt: skip
        for name in trained:
            for warning in label_warnings(tasks[name]) if name in tasks else ():
                logger.warning("Task %r: %s.", name, warning)
        trained, meta_set = split_meta_set(args, target, trained, evaluated, tasks, processing_class, own_rows)
    return TaskSetup(
        target=target,
        tasks=tasks,
        names=names,
        train_datasets=trained,
        eval_datasets=evaluated,
        meta_set=meta_set,
        metrics=_metrics(tasks, names, compute_metrics),
        kinds={name: task.kind for name, task in tasks.items()},
        heads={name: task.head for name, task in with_heads.items()},
        own_rows=own_rows,
        lengths=RowLengths(*_length_settings(args)),
        settings=setup_settings(args),
    )


def _warn_of_untrained(
    args: MultitaskSettings, target: str, tasks: Mapping[str, Task], trained: Mapping[str, TaskDataset]
) -> None:
    left_out = [name for name, task in tasks.items() if task.train is not None and name not in trained]
    if left_out := [name for name in left_out if METHODS[args.method].trains_on(name, target)]:
        logger.warning(
            "train_dataset leaves out %s, whose tasks have training rows: they are not trained. Add them, as "
            "{%r: task}, if they should be.",
            ", ".join(left_out), left_out[0],
        )  # fmt: skip


def _rows_of_the_user(given: Any, trained: Mapping[str, TaskDataset]) -> list[str]:
    """The tasks whose training rows are the user's own, not tokenised here."""
    own = {name: rows.get("train") if isinstance(rows, Mapping) else rows for name, rows in dict(given or {}).items()}
    return [name for name, dataset in trained.items() if dataset.dataset is own.get(name)]


def setup_settings(args: MultitaskSettings) -> tuple[Any, ...]:
    """
    The settings on which datasets, the meta set and collators depend. If one of them changes, they are made anew.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    holdout = args.alpha_data, args.alpha_holdout_fraction, args.resolved_data_seed
    rows = args.max_length, args.remove_unused_columns, args.label_names, *_length_settings(args)
    return args.target_task, args.method, *rows, *holdout


def _length_settings(args: MultitaskSettings) -> tuple[str, str]:
    return args.resolved_length_grouping, args.length_column_name


def head_of(tasks: Mapping[str, Task], name: str) -> str:
    """
    The task whose head predicts task `name`.

    Args:
        tasks (`Mapping[str, Task]`): The tasks.
        name (`str`): The task. It need not be one of `tasks`.
    """
    task = tasks.get(name)
    return name if task is None or task.head_task is None else task.head_task


def _metrics(
    tasks: Mapping[str, Task], names: Sequence[str], compute_metrics: Callable | Mapping[str, Callable] | None
) -> dict[str, Callable]:
    """The tasks' metrics. The user's metrics override them."""
    metrics: dict[str, Callable] = {name: task.compute_metrics for name, task in tasks.items()}
    if isinstance(compute_metrics, Mapping):
        return metrics | dict(compute_metrics)
    return metrics if compute_metrics is None else metrics | dict.fromkeys(names, compute_metrics)
