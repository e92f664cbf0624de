"""From the trainer's arguments to one dataset, collator and metric per task; every error before training starts."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from torch.utils.data import IterableDataset, Subset
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    default_data_collator,
)

from ..data import TaskCollator, TaskDataset, split_holdout
from ..data.masked_lm import MaskedLMCollator
from ..data.multiple_choice import MultipleChoiceCollator
from ..methods import METHODS
from ..tasks.tokenization import WORD_POSITIONS
from ..training_args import MultitaskTrainingArguments

if TYPE_CHECKING:
    from ..tasks import Task

logger = logging.getLogger(__name__)


def tokenized_split(
    tasks: Mapping[str, Task], split: str, tokenizer: Any, args: MultitaskTrainingArguments
) -> dict[str, Any]:
    """
    Tokenises a split of every task that has it.

    Args:
        tasks (`Mapping[str, Task]`): The tasks.
        split (`str`): `train`, `validation` or `test`.
        tokenizer (`PreTrainedTokenizerBase`): The encoder's tokenizer.
        args (`MultitaskTrainingArguments`): For `max_length`, and the order of processes.

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


def check_target(args: MultitaskTrainingArguments, names: Sequence[str]) -> str:
    """
    The target's name, checked against the tasks at hand.

    Args:
        args (`MultitaskTrainingArguments`): For `target_task`.
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


def split_meta_set(
    args: MultitaskTrainingArguments,
    target: str,
    train: Mapping[str, TaskDataset],
    validation: Mapping[str, TaskDataset],
    tasks: Mapping[str, Task] | None,
    tokenizer: Any = None,
) -> tuple[dict[str, TaskDataset], TaskDataset | None]:
    """
    The meta set on which α is fitted, and the training sets without it.

    Args:
        args (`MultitaskTrainingArguments`): For `method`, `alpha_data`, `alpha_holdout_fraction` and the data seed.
        target (`str`): The target task.
        train (`Mapping[str, TaskDataset]`): Training sets by task.
        validation (`Mapping[str, TaskDataset]`): Validation sets by task.
        tasks (`Mapping[str, Task]`, *optional*): For the target's passages and its test rows.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): For `alpha_data="test"`.

    Returns:
        `tuple[dict[str, TaskDataset], TaskDataset | None]`: Training sets; the meta set if the method needs one.

    Raises:
        ValueError: If the held-out slice is too small, or there is no validation or test set to take.
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
                "`eval_dataset`, or hold a slice of the training rows out with alpha_data='train_holdout'"
            )
        logger.warning(
            "The meta set is the target's validation rows (alpha_data='validation', the paper's way): scores on them "
            "are optimistic. Report another set's, or hold out training rows with alpha_data='train_holdout'."
        )
        return train, validation[target]
    task = tasks.get(target) if tasks is not None else None
    if args.alpha_data == "test":
        if task is None or task.test is None:
            raise ValueError(
                f"alpha_data='test', but there are no test rows of the target {target!r}: pass `tasks` of which it "
                "has a test split, or take the text of a slice of the training rows with alpha_data='train_holdout'"
            )
        return train, TaskDataset(tokenized_split({target: task}, "test", tokenizer, args)[target], target)
    labels = train[target].labels()
    # A slice is stratified by a class of every row; scores, and several labels of a row, are none.
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
    logger.info(
        "The meta set is %d held-out rows of the %d training rows of %s", len(meta), len(rest) + len(meta), target
    )
    return train, meta


def make_collator(
    args: MultitaskTrainingArguments,
    model: nn.Module,
    names: Sequence[str],
    kinds: Mapping[str, str],
    tasks: Mapping[str, Task],
    data_collator: Callable | Mapping[str, Callable] | None,
    processing_class: Any,
) -> TaskCollator:
    """
    One collator for the batches of all tasks.

    Args:
        args (`MultitaskTrainingArguments`): For `remove_unused_columns` and `label_names`.
        model (`torch.nn.Module`): Whose `forward` says which columns it takes.
        names (`Sequence[str]`): The tasks.
        kinds (`Mapping[str, str]`): The kind of every task that is known to have one.
        tasks (`Mapping[str, Task]`): Those that were given as tasks.
        data_collator (`Callable` or `Mapping[str, Callable]`, *optional*): The user's, for all tasks or by task.
        processing_class (`Any`): The tokenizer, if there is one.

    Raises:
        ValueError: For a masked language modelling task and a tokenizer without a mask token.
    """

    def default(name: str) -> Callable:
        if not isinstance(processing_class, PreTrainedTokenizerBase):
            return default_data_collator
        kind, task = kinds.get(name), tasks.get(name)
        if kind == "multiple_choice":
            return MultipleChoiceCollator(processing_class, num_choices=len(task.labels or ()) if task else None)
        if kind == "token_classification":
            # `word_positions` count from a row's first token: padding on the left would move every word.
            pads_behind = copy.deepcopy(processing_class)
            pads_behind.padding_side = "right"
            return DataCollatorForTokenClassification(pads_behind)
        if kind == "masked_lm":
            if processing_class.mask_token is None:
                raise ValueError(
                    f"task {name!r}: masked language modelling needs a tokenizer with a mask token, which "
                    f"{processing_class.name_or_path or type(processing_class).__name__} is not: leave the task out, "
                    "or take an encoder that was pretrained so"
                )
            share = task.mlm_probability if task else 0.15
            return MaskedLMCollator(processing_class, mlm_probability=share, seed=args.resolved_data_seed)
        return DataCollatorWithPadding(processing_class)

    if isinstance(data_collator, Mapping):
        collators = {name: data_collator.get(name) or default(name) for name in names}
    else:
        collators = {name: data_collator or default(name) for name in names}
    dropped = {WORD_POSITIONS, *(column for task in tasks.values() for column in task.score_columns)}
    if not args.remove_unused_columns:
        return TaskCollator(collators, dropped=dropped)
    parameters = inspect.signature(model.forward).parameters
    columns = set(parameters) | {"label", "label_ids", "labels"} | set(args.label_names or ())
    columns |= set(getattr(processing_class, "model_input_names", ()))
    # A PreTrainedModel names what it takes; anything else with **inputs may take any tensor.
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    open_ended = open_ended and not isinstance(model, PreTrainedModel)
    return TaskCollator(collators, columns, keep_unknown_tensors=open_ended, dropped=dropped)
