"""The meta set on which α is fitted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Subset

from ..data import TaskDataset, select_columns, split_holdout
from ..data.holdout import MIN_HOLDOUT_ROWS
from ..data.underlying import underlying
from ..kinds import find_kind
from ..methods import METHODS
from ..settings import MultitaskSettings
from .datasets import tokenized_split

if TYPE_CHECKING:
    from ..tasks import Task

logger = logging.getLogger(__name__)


def split_meta_set(
    args: MultitaskSettings,
    target: str,
    train: Mapping[str, TaskDataset],
    validation: Mapping[str, TaskDataset],
    tasks: Mapping[str, Task],
    tokenizer: Any,
    own_rows: Collection[str] = (),
) -> tuple[dict[str, TaskDataset], TaskDataset | None]:
    """
    Selects the meta set on which α is fitted, and removes a held-out slice from the training sets.

    Args:
        args (`MultitaskSettings`): For `method`, `alpha_data`, `alpha_holdout_fraction` and the data seed.
        target (`str`): The target task.
        train (`Mapping[str, TaskDataset]`): Training sets by task.
        validation (`Mapping[str, TaskDataset]`): Validation sets by task.
        tasks (`Mapping[str, Task]`): For the target's group column, such as passages, and its test rows.
        tokenizer (`PreTrainedTokenizerBase`, or `None`): The encoder's tokenizer. Only `alpha_data="test"` needs it.
        own_rows (`Collection[str]`, *optional*): The tasks whose training rows are the user's own, not tokenised here.

    Returns:
        `tuple[dict[str, TaskDataset], TaskDataset | None]`: The training sets, and the meta set if the method needs
        one.

    Raises:
        ValueError: If the held-out slice is too small, if rows lack the group column, if the target lacks the
            validation or test set that `alpha_data` asks for, or if that has no rows or no labels.
    """
    train = dict(train)
    if not METHODS[args.method].needs_meta_set:
        return train, None
    train, meta = _selected(args, target, train, validation, tasks.get(target), tokenizer, target in own_rows)
    _check_meta_set(args, meta, train[target], tasks.get(target))
    return train, meta


def _selected(
    args: MultitaskSettings,
    target: str,
    train: dict[str, TaskDataset],
    validation: Mapping[str, TaskDataset],
    task: Task | None,
    tokenizer: Any,
    is_own: bool,
) -> tuple[dict[str, TaskDataset], TaskDataset]:
    """The training sets, and the rows that `alpha_data` asks for."""
    if args.alpha_data == "train":
        return train, train[target]
    if args.alpha_data == "validation":
        if target not in validation:
            raise ValueError(
                f"alpha_data='validation', but there is no validation set of the target {target!r}: pass it in "
                "`eval_dataset`, or hold out a slice of the training rows with alpha_data='train_holdout'"
            )
        logger.warning(
            "The meta set is the target's validation set (alpha_data='validation', as in the paper), so scores on it "
            "are optimistic. Report scores on another set, or hold out training rows with alpha_data='train_holdout'."
        )
        return train, validation[target]
    if args.alpha_data == "test":
        if task is None or task.test is None:
            raise ValueError(
                f"alpha_data='test', but there are no test rows of the target {target!r}: pass `tasks` in which the "
                "target has a test split, or hold out a slice of the training rows with alpha_data='train_holdout'"
            )
        return train, TaskDataset(tokenized_split({target: task}, "test", tokenizer, args)[target], target)
    train[target], meta = _hold_out(args, train[target], task, is_own)
    return train, meta


def _check_meta_set(args: MultitaskSettings, meta: TaskDataset, train: TaskDataset, task: Task | None) -> None:
    """Refuses a meta set without rows or without the labels that the method reads, and warns about few rows."""
    what = f"the {args.alpha_data} set of the target {meta.task!r}, which is the meta set (alpha_data),"
    remedy = "pass other rows, or hold out a slice of the training rows with alpha_data='train_holdout'"
    if len(meta) == 0:
        raise ValueError(f"{what} has no rows: {remedy}")
    reads_labels = task is None or find_kind(task.kind).reads_labels
    ignores_labels = METHODS[args.method].fits_alpha and args.alpha_objective == "entropy"
    if reads_labels and not ignores_labels and meta.label_name is None and train.label_name is not None:
        raise ValueError(f"{what} has no labels, but the target's loss needs them: {remedy}")
    if len(meta) < MIN_HOLDOUT_ROWS:
        logger.warning("The meta set has only %d rows: fitted values will be noisy.", len(meta))


def _hold_out(
    args: MultitaskSettings, dataset: TaskDataset, task: Task | None, is_own: bool
) -> tuple[TaskDataset, TaskDataset]:
    """
    Holds out `alpha_holdout_fraction` of a training set, stratified by class, and without splitting a group of rows.

    Returns:
        `tuple[TaskDataset, TaskDataset]`: The rest, and the held-out rows.
    """
    rest, held_out = split_holdout(
        len(dataset),
        args.alpha_holdout_fraction,
        args.resolved_data_seed,
        _classes(dataset, task),
        _groups(dataset, task, is_own),
    )
    logger.info(
        "The meta set is %d of the %d training rows of %s, held out", len(held_out), len(dataset), dataset.task
    )
    if round(args.alpha_holdout_fraction * len(dataset)) < MIN_HOLDOUT_ROWS:
        logger.warning(
            "The target %r has only %d training rows, so %d of them are held out for the meta set instead of "
            "alpha_holdout_fraction=%g: fewer than %d rows carry too little signal.",
            dataset.task, len(dataset), len(held_out), args.alpha_holdout_fraction, MIN_HOLDOUT_ROWS,
        )  # fmt: skip
    return (
        TaskDataset(Subset(dataset.dataset, rest), dataset.task),
        TaskDataset(Subset(dataset.dataset, held_out), dataset.task),
    )


def split_halves(
    args: MultitaskSettings, meta: TaskDataset, task: Task | None, is_own: bool = False
) -> tuple[list[int], list[int]]:
    """
    Splits the meta set in two halves, as [`split_holdout`] does: α is fitted on the first and accepted on the second.

    Groups of training rows are not split. Without labels to read (`alpha_objective="entropy"`), rows are not
    stratified.

    Args:
        args (`MultitaskSettings`): For `alpha_data`, `alpha_objective` and the data seed.
        meta (`TaskDataset`): The meta set.
        task (`Task`, *optional*): The target.
        is_own (`bool`, *optional*, defaults to `False`): Whether its training rows are the user's own.

    Returns:
        `tuple[list[int], list[int]]`: The rows of each half, in ascending order.

    Raises:
        ValueError: If there are too few rows, or if training rows lack the group column.
    """
    labels = None if args.alpha_objective == "entropy" else _classes(meta, task)
    groups = _groups(meta, task, is_own) if args.alpha_data in ("train", "train_holdout") else None
    try:
        return split_holdout(len(meta), 0.5, args.resolved_data_seed, labels, groups)
    except ValueError:
        raise ValueError(
            f"alpha_acceptance='held_out' needs {MIN_HOLDOUT_ROWS} rows in each half of the meta set, but it has "
            f"{len(meta)} rows: raise alpha_holdout_fraction, or pass alpha_acceptance='fit'"
        ) from None


def _groups(dataset: TaskDataset, task: Task | None, is_own: bool) -> list[Any] | None:
    """The group of every row of a training set or of a slice of it, such as its passage; `None` without groups."""
    if task is None or task.group_column is None:
        return None
    column = task.group_column
    if not is_own:  # tokenisation keeps the order of the rows, not the column
        return [_plain(group) for group in select_columns(task.train, [column], underlying(dataset)[1])[column]]
    try:
        return [_plain(group) for group in select_columns(dataset, [column])[column]]
    except ValueError:
        raise ValueError(
            f"rows of task {task.name!r} with equal {column!r} (group_column) must stay together, but the training "
            f"rows that you have tokenised lack the column {column!r}: keep it beside the model's inputs, pass raw "
            "rows, or a task without group_column"
        ) from None


def _classes(dataset: TaskDataset, task: Task | None) -> list[Any] | None:
    """The class of every row, or `None` if rows have no label, a score, or several labels."""
    labels = dataset.labels()
    if labels is None or (task is not None and not task.has_one_class):
        return None
    labels = list(map(_plain, labels))
    if any(isinstance(label, float) or np.ndim(label) for label in labels):
        return None
    return labels


def _plain(value: Any) -> Any:
    """A number or a text, if the value is an array or a tensor without dimensions."""
    return value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
