"""Checks of the tasks' rows before training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
import pyarrow.compute
from torch import nn

from ..data import TaskDataset
from ..data.underlying import underlying
from ..kinds.predictions import IGNORED
from ..settings import MultitaskSettings
from .inputs import LISTS, check_inputs
from .task_setup import TaskSetup
from .trainer_checks import check_batch

logger = logging.getLogger(__name__)


def check_rows(
    args: MultitaskSettings, setup: TaskSetup, collate: Callable, model: nn.Module, processing_class: Any
) -> None:
    """
    Checks that the model can read all rows, and warns about rows that train, but not as a user may think.

    Args:
        args (`MultitaskSettings`): The settings.
        setup (`TaskSetup`): The tasks and their datasets.
        collate (`Callable`): Turns rows into the model's inputs.
        model (`torch.nn.Module`): The bare model, without adapters.
        processing_class (`Any`): The tokenizer, if there is one.

    Raises:
        ValueError: If the model cannot read a row, or a batch lacks an input that a setting names.
    """
    check_batch(args, setup, collate, model)
    check_inputs(model, setup.datasets, processing_class, setup.has_kind("masked_lm"))
    warn_about_rows(setup)


def warn_about_rows(setup: TaskSetup) -> None:
    """
    Warns about rows of the target that an auxiliary trains on too, and about training sets of one label.

    Args:
        setup (`TaskSetup`): The tasks and their datasets.
    """
    _warn_about_shared_rows(setup)
    for name, dataset in setup.train_datasets.items():
        labels = _first_two_labels(dataset, setup.kinds.get(name) == "token_classification")
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
    if not isinstance(dataset, datasets.Dataset) or "input_ids" not in dataset.column_names:
        return [(id(dataset), number) for number in (range(len(dataset)) if numbers is None else numbers)]
    keys: list[Hashable] = []
    for batch in dataset.select_columns("input_ids").with_format("arrow").iter(batch_size=10_000):
        for chunk in batch["input_ids"].chunks:
            keys += map(hash, _tokens_as_bytes(chunk))
    return keys if numbers is None else [keys[number] for number in numbers]


def _tokens_as_bytes(lists: Any) -> Iterator[bytes]:
    """The tokens of each row of an Arrow array of lists, or of lists of lists."""
    bounds = np.arange(len(lists) + 1)
    while isinstance(lists.type, LISTS):
        lengths = pyarrow.compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        bounds = np.concatenate([[0], np.cumsum(lengths)])[bounds].astype(np.int64)
        lists = lists.flatten()
    tokens = lists.to_numpy(zero_copy_only=False).astype(np.int64)
    return (tokens[start:end].tobytes() for start, end in pairwise(bounds))


def _first_two_labels(dataset: TaskDataset, is_of_tokens: bool) -> set[Hashable]:
    """The labels of a dataset's rows, up to the second different one."""
    found: set[Hashable] = set()
    for number in range(len(dataset)):
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
