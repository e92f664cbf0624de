"""One tokenised dataset per task and split, and the checks of the datasets that the user passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset
from transformers import PreTrainedTokenizerBase

from ..distributed.timeout import explained_waits
from ..settings import MultitaskSettings
from ..tasks.fingerprints import tokenizer_identity

if TYPE_CHECKING:
    from ..tasks import Task


def tokenized_split(tasks: Mapping[str, Task], split: str, tokenizer: Any, args: MultitaskSettings) -> dict[str, Any]:
    """
    Tokenises one split of every task that has it.

    Args:
        tasks (`Mapping[str, Task]`): The tasks.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        tokenizer (`PreTrainedTokenizerBase`): The encoder's tokenizer.
        args (`MultitaskSettings`): For `max_length`, and `main_process_first`.

    Raises:
        ValueError: If `tokenizer` is not a tokenizer.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            "datasets of tasks need a tokenizer: pass the encoder's tokenizer as `processing_class` "
            f"(got {type(tokenizer).__name__}), or pass tokenised `train_dataset` and `eval_dataset` dicts"
        )
    identity = tokenizer_identity(tokenizer)
    with explained_waits(args), args.main_process_first(desc=f"tokenisation of {split}"):
        return {
            name: task.tokenize(split, tokenizer, args.max_length, identity)
            for name, task in tasks.items()
            if getattr(task, split) is not None
        }


def check_target(args: MultitaskSettings, names: Sequence[str]) -> str:
    """
    Returns the name of the target, checked against the available tasks.

    Args:
        args (`MultitaskSettings`): For `target_task`.
        names (`Sequence[str]`): Names of the available tasks.

    Raises:
        ValueError: If `target_task` is empty and there are several tasks, or if it is not one of the tasks.
    """
    if not args.target_task:
        if len(names) == 1:
            return names[0]
        raise ValueError(f"there are several tasks: pass one of them as `target_task` ({', '.join(names)})")
    if args.target_task not in names:
        raise ValueError(
            f"target_task={args.target_task!r} has no dataset; there are datasets of {', '.join(names)}: add its "
            "dataset, or pass one of these tasks"
        )
    return args.target_task


def check_head_tasks(tasks: Mapping[str, Task]) -> None:
    """
    Checks that every evaluation-only task can use the head of the task that it refers to.

    Args:
        tasks (`Mapping[str, Task]`): The available tasks.

    Raises:
        ValueError: If the other task is missing or evaluation-only too, or if its kind, problem type or labels differ.
    """
    for name, task in tasks.items():
        if task.head_task is None:
            continue
        head = tasks.get(task.head_task)
        if head is None or head.head_task is not None:
            raise ValueError(
                f"task {name!r} is evaluated with the head of task {task.head_task!r}, which is not one of the tasks "
                f"with a head ({', '.join(tasks)}): add it, or leave {name!r} out"
            )
        if (head.kind, head.problem_type, head.labels) != (task.kind, task.problem_type, task.labels):
            raise ValueError(
                f"task {name!r} is evaluated with the head of task {task.head_task!r}, so both need the same kind, "
                f"problem type and labels: their labels are {task.labels} and {head.labels}"
            )


def check_train_datasets(datasets: Mapping[str, Any]) -> None:
    """
    Checks that every training set is a map-style dataset with rows.

    Args:
        datasets (`Mapping[str, Any]`): Training sets by task.

    Raises:
        ValueError: If a training set is empty.
        TypeError: If a training set is not map-style, such as an iterable one.
    """
    for name, dataset in datasets.items():
        is_iterable = isinstance(dataset, IterableDataset) or type(dataset).__name__ == "IterableDataset"
        if is_iterable or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"the training set of task {name!r} is a {type(dataset).__name__}; in multitask mode pass a map-style "
                "dataset with a length (`datasets.Dataset.from_list(list(iterable))` makes one)"
            )
        if len(dataset) == 0:
            raise ValueError(f"task {name!r} has no training rows: give it some, or leave it out of the tasks")
