"""Checks of the tasks' rows before training."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from ..data import TaskCollator, TaskDataset
from ..data.generators import unchanged_generators
from ..data.spread_rows import spread_rows
from ..data.tables import is_list, is_of_library, list_lengths
from ..data.underlying import underlying
from ..kinds.predictions import IGNORED
from ..settings import MultitaskSettings
from .checked_collator import LABEL_NAMES, CheckedCollator
from .inputs import check_tokenizer
from .notable_rows import notable_rows
from .readable_inputs import PER_TOKEN
from .task_setup import TaskSetup
from .trainer_checks import check_batch

logger = logging.getLogger(__name__)

#: Columns in which a row may be unlike others.
READ_COLUMNS = ("input_ids", *LABEL_NAMES, *PER_TOKEN)


def check_rows(
    args: MultitaskSettings, setup: TaskSetup, collate: TaskCollator, model: nn.Module, processing_class: Any
) -> None:
    """
    Checks that the model can read all rows, and warns about rows that train, but not as a user may think.

    Args:
        args (`MultitaskSettings`): The settings.
        setup (`TaskSetup`): The tasks and their datasets.
        collate (`TaskCollator`): Turns rows into the model's inputs.
        model (`torch.nn.Module`): The bare model, without adapters.
        processing_class (`Any`): The tokenizer, if there is one.

    Raises:
        ValueError: If the model cannot read a row, or a batch lacks an input that a setting names.
    """
    check_tokenizer(model, processing_class, setup.has_kind("masked_lm"))
    for dataset in setup.train_datasets.values():
        check_dataset(dataset, collate, "training row", is_trained=True)
    for dataset in setup.eval_datasets.values():
        check_dataset(dataset, collate, "validation row")
    if setup.meta_set is not None:
        check_dataset(setup.meta_set, collate, f"{args.alpha_data} row")
    check_batch(args, setup, collate, model)
    warn_about_rows(setup)


def check_dataset(dataset: TaskDataset, collate: Any, what: str = "row", is_trained: bool = False) -> None:
    """
    Checks that a head of a [`MultitaskModel`] can read the rows of a dataset.

    The values of all rows of a `datasets.Dataset` without a transform are checked, and up to 10,000 rows of any other
    dataset. The rows of a task whose collator is the user's own are checked only when they are collated.

    Args:
        dataset (`TaskDataset`): The dataset.
        collate (`TaskCollator`): Turns rows into the model's inputs.
        what (`str`, *optional*, defaults to `"row"`): What the rows are, for messages.
        is_trained (`bool`, *optional*, defaults to `False`): Whether rows need labels.

    Raises:
        ValueError: If the head cannot read a row.
    """
    own = collate.collators.get(dataset.task) if isinstance(collate, TaskCollator) else None
    if not isinstance(own, CheckedCollator) or not own.pads_rows or not len(dataset):
        return
    rows, numbers = underlying(dataset)
    tagged, first = TaskDataset(rows, dataset.task), None
    with unchanged_generators(devices=[]):
        for number in notable_rows(rows, numbers, READ_COLUMNS):
            where = f"{what} {number}"
            row = own.fitted(collate.selected(tagged.read(number, what)), where)
            first = row if first is None else first
            own.check_values(row, where)
            own.check_names(row, first, where)
    if is_trained and first is not None:
        own.check_labels_exist(first)


def warn_about_rows(setup: TaskSetup) -> None:
    """
    Warns about rows of the target that an auxiliary trains on too, and about training sets of one label.

    Args:
        setup (`TaskSetup`): The tasks and their datasets.
    """
    _warn_about_shared_rows(setup)
    for name, dataset in setup.train_datasets.items():
        labels = _first_two_labels(dataset, setup.kinds.get(name) == "token_classification")
        if labels == {IGNORED}:
            raise ValueError(
                f"all {len(dataset)} training rows of task {name!r} have the label {IGNORED}, which the loss ignores: "
                "give them labels, or leave the task out"
            )
        if len(labels) == 1:
            logger.warning(
                "All %d training rows of task %r have the label %s: they teach nothing but this label.",
                len(dataset), name, _in_words(setup, name, labels.pop()),
            )  # fmt: skip


def _warn_about_shared_rows(setup: TaskSetup) -> None:
    target = setup.train_datasets.get(setup.target)
    if target is None or len(setup.train_datasets) == 1:
        return
    held_out = _row_keys(setup.meta_set) if setup.meta_set is not None else []
    own = _row_keys(target)
    # With `alpha_data="train"`, the meta set is the training set.
    rows = own if setup.meta_set is target else [*own, *held_out]
    for name, dataset in setup.train_datasets.items():
        trained = set(_row_keys(dataset)) if name != setup.target else set()
        if shared := sum(key in trained for key in rows):
            logger.warning(
                "%d of the %d rows of the target %r are training rows of task %r too, %d of them among the %d rows of "
                "the meta set: they are trained on, so α and weights favour %r. Leave the task or these rows out.",
                shared, len(rows), setup.target, name, sum(key in trained for key in held_out), len(held_out), name,
            )  # fmt: skip


def _row_keys(dataset: Any) -> list[Hashable]:
    """Something for each row that is equal for equal inputs: its tokens or, where they are not known, its place."""
    dataset, numbers = underlying(dataset)
    if not is_of_library(dataset) or "input_ids" not in dataset.column_names:
        return [(id(dataset), number) for number in (range(len(dataset)) if numbers is None else numbers)]
    keys: list[Hashable] = []
    for batch in dataset.select_columns("input_ids").with_format("arrow").iter(batch_size=10_000):
        for chunk in batch["input_ids"].chunks:
            keys += map(hash, _tokens_as_bytes(chunk))
    return keys if numbers is None else [keys[number] for number in numbers]


def _tokens_as_bytes(lists: Any) -> Iterator[bytes]:
    """The tokens of each row of an Arrow array of lists, or of lists of lists."""
    bounds = np.arange(len(lists) + 1)
    while is_list(lists.type):
        bounds = np.concatenate([[0], np.cumsum(list_lengths(lists))])[bounds]
        lists = lists.flatten()
    tokens = lists.to_numpy(zero_copy_only=False).astype(np.int64)
    return (tokens[start:end].tobytes() for start, end in pairwise(bounds))


def _first_two_labels(dataset: TaskDataset, is_of_tokens: bool) -> set[Hashable]:
    """The labels of a dataset's rows, up to the second different one."""
    found: set[Hashable] = set()
    is_whole = is_of_library(underlying(dataset)[0])
    for number in range(len(dataset)) if is_whole else spread_rows(len(dataset)):
        row = dataset[number]
        label: Any = next((row[name] for name in ("labels", "label") if name in row), None)
        label = label.tolist() if hasattr(label, "tolist") else label
        if label is None:
            return set()
        if is_of_tokens:
            found |= {one for one in label if one != IGNORED}
        else:
            found.add(tuple(label) if isinstance(label, list) else label)
        if len(found) > 1:
            break
    return found


def _in_words(setup: TaskSetup, name: str, label: Any) -> str:
    labels = (setup.heads.get(name) or {}).get("labels")
    return repr(labels[label] if labels and isinstance(label, int) and label < len(labels) else label)
