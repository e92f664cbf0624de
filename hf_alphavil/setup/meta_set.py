"""The meta set on which α is fitted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Subset

from ..data import TaskDataset, split_holdout
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
    tasks: Mapping[str, Task] | None,
    tokenizer: Any = None,
) -> tuple[dict[str, TaskDataset], TaskDataset | None]:
    """
    Selects the meta set on which α is fitted, and removes a held-out slice from the training sets.

    Args:
        args (`MultitaskSettings`): For `method`, `alpha_data`, `alpha_holdout_fraction` and the data seed.
        target (`str`): The target task.
        train (`Mapping[str, TaskDataset]`): Training sets by task.
        validation (`Mapping[str, TaskDataset]`): Validation sets by task.
        tasks (`Mapping[str, Task]`, *optional*): For the target's group column, such as passages, and its test rows.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): For `alpha_data="test"`.

    Returns:
        `tuple[dict[str, TaskDataset], TaskDataset | None]`: The training sets, and the meta set if the method needs
        one.

    Raises:
        ValueError: If the held-out slice is too small, or the target lacks the validation or test set that
            `alpha_data` asks for.
    """
    train = dict(train)
    if not METHODS[args.method].needs_meta_set:
        return train, None
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
    task = tasks.get(target) if tasks is not None else None
    if args.alpha_data == "test":
        if task is None or task.test is None:
            raise ValueError(
                f"alpha_data='test', but there are no test rows of the target {target!r}: pass `tasks` in which the "
                "target has a test split, or hold out a slice of the training rows with alpha_data='train_holdout'"
            )
        return train, TaskDataset(tokenized_split({target: task}, "test", tokenizer, args)[target], target)
    labels = train[target].labels()
    # The slice is stratified by class. Rows with a score or with several labels have no single class.
    if (task is not None and not task.has_one_class) or (
        labels and (isinstance(labels[0], float) or np.ndim(labels[0]))
    ):
        labels = None
    groups = None
    if task is not None and task.group_column is not None and task.train is not None:
        groups = list(task.train[task.group_column])
        groups = groups if len(groups) == len(train[target]) else None
    rest, held_out = split_holdout(
        len(train[target]),
        args.alpha_holdout_fraction,
        args.resolved_data_seed,
        [label.item() if hasattr(label, "item") else label for label in labels] if labels is not None else None,
        groups,
    )
    meta = TaskDataset(Subset(train[target].dataset, held_out), target)
    train[target] = TaskDataset(Subset(train[target].dataset, rest), target)
    logger.info("The meta set is %d of the %d training rows of %s, held out", len(meta), len(rest) + len(meta), target)
    return train, meta
