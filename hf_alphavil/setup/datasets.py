"""From tasks or the user's datasets to one checked, tokenised dataset per task and split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset
from transformers import (
    PreTrainedTokenizerBase,
)

from ..settings import MultitaskSettings

if TYPE_CHECKING:
    from ..tasks import Task
logger = logging.getLogger(__name__)


def tokenized_split(tasks: Mapping[str, Task], split: str, tokenizer: Any, args: MultitaskSettings) -> dict[str, Any]:
    """
    Tokenises a split of every task that has it.

    Args:
        tasks (`Mapping[str, Task]`): The tasks.
        split (`str`): `train`, `validation` or `test`.
        tokenizer (`PreTrainedTokenizerBase`): The encoder's tokenizer.
        args (`MultitaskSettings`): For `max_length`, and the order of processes.

    Raises:
        ValueError: If there is no tokenizer.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            "datasets made from tasks need a tokenizer: pass the encoder's as `processing_class` "
            f"(got {type(tokenizer).__name__}), or pass tokenised `train_dataset` and `eval_dataset` dicts"
        )
    with args.main_process_first(desc=f"tokenisation of {split}"):
        return {
            name: task.tokenize(split, tokenizer, args.max_length)
            for name, task in tasks.items()
            if getattr(task, split) is not None
        }


def check_target(args: MultitaskSettings, names: Sequence[str]) -> str:
    """
    The target's name, checked against the tasks at hand.

    Args:
        args (`MultitaskSettings`): For `target_task`.
        names (`Sequence[str]`): The tasks at hand.

    Raises:
        ValueError: If the target is not given or not among the tasks.
    """
    if not args.target_task:
        if len(names) == 1:
            return names[0]
        raise ValueError(f"which task is the target? Pass `target_task`, one of {', '.join(names)}")
    if args.target_task not in names:
        raise ValueError(
            f"target_task={args.target_task!r} is not among the datasets, which are of {', '.join(names)}: add its "
            "data, or name one of those"
        )
    return args.target_task


def check_head_tasks(tasks: Mapping[str, Task]) -> None:
    """
    Refuses evaluation-only tasks of which the task is missing whose head they are scored with.

    Args:
        tasks (`Mapping[str, Task]`): The tasks at hand.

    Raises:
        ValueError: If it is, or is of another kind or another number of labels.
    """
    for name, task in tasks.items():
        if task.head_task is None:
            continue
        head = tasks.get(task.head_task)
        if head is None or head.head_task is not None:
            raise ValueError(
                f"{name!r} is evaluated with the head of {task.head_task!r}, which is not among the tasks "
                f"{', '.join(tasks)}: add it, or leave {name!r} out"
            )
        if (head.kind, head.problem_type, head.labels) != (task.kind, task.problem_type, task.labels):
            raise ValueError(
                f"{name!r} is evaluated with the head of {task.head_task!r}, whose labels are {head.labels} and not "
                f"{task.labels}, or whose kind differs"
            )


def check_train_datasets(datasets: Mapping[str, Any]) -> None:
    """
    Refuses what cannot be one of several training sets.

    Args:
        datasets (`Mapping[str, Any]`): Training sets by task.

    Raises:
        ValueError: If a set is empty.
        TypeError: If a set is iterable-style or not map-style.
    """
    for name, dataset in datasets.items():
        is_iterable = isinstance(dataset, IterableDataset) or type(dataset).__name__ == "IterableDataset"
        if is_iterable or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"the training set of task {name!r} is a {type(dataset).__name__}; as one of several tasks pass a "
                "map-style dataset with a length (`datasets.Dataset.from_list(list(iterable))` makes one)"
            )
        if len(dataset) == 0:
            raise ValueError(f"task {name!r} has no training rows: give it some, or leave it out of the tasks")
