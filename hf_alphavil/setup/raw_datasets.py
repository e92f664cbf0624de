"""Tokenises the raw datasets among those that the user passes by task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..kinds import find_kind
from ..kinds.features import (
    LABEL_COLUMNS,
    SPLITS,
    guess_settings,
    is_dataset,
    is_raw,
    labels_in,
    names_ids,
    splits_of,
)
from ..modeling import MultitaskModel, unwrap_peft
from ..settings import MultitaskSettings
from ..tasks import Task
from .checked_collator import only_pads
from .datasets import check_target, tokenized_split

logger = logging.getLogger(__name__)


def with_tokenized_rows(
    args: MultitaskSettings,
    tasks: Mapping[str, Any],
    train_dataset: Any,
    eval_dataset: Any,
    processing_class: Any,
    data_collator: Callable | Mapping[str, Callable] | None,
    model: Any,
) -> tuple[dict[str, Task], Any, Any]:
    """
    Makes tasks of the raw datasets that the user passes by name, and tokenises them. Others stay as they are.

    Args:
        args (`MultitaskSettings`): For `target_task` and `max_length`.
        tasks (`dict[str, Task | Dataset | DatasetDict]`): The tasks, or their raw rows.
        train_dataset (`dict[str, Dataset | DatasetDict | Task]`, *optional*): Training rows by task, or all splits.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): Validation rows by task, or the target's.
        processing_class (`Any`): The tokenizer, if there is one.
        data_collator (`Callable` or `Mapping[str, Callable]`, *optional*):
            The user's collators. Rows of a task whose collator is the user's own are not tokenised: it may do that.
        model (`torch.nn.Module`, *optional*): The model. Its heads say what columns leave open.

    Returns:
        `tuple[dict[str, Task], Any, Any]`: The tasks, the training sets and the validation sets, tokenised.

    Raises:
        ValueError: If the columns of a dataset may mean more than one task, or there is no tokenizer for it.
        TypeError: If one of `tasks` is neither a task nor a dataset.
    """
    reader = _RawReader(processing_class, data_collator, model)
    tasks = reader.tasks(tasks)
    named = train_dataset if isinstance(train_dataset, Mapping) else {}
    if eval_dataset is not None and not isinstance(eval_dataset, Mapping):
        eval_dataset = {check_target(args, list(named or tasks)): eval_dataset}
    tasks |= {name: task for name, task in named.items() if isinstance(task, Task)}
    trained: dict[str, Any] = {}
    evaluated: dict[str, Any] = {}
    raw: dict[str, dict[str, Any]] = {}
    for name, dataset in named.items():
        splits = _splits(name, dataset)
        trained[name] = splits.get("train")
        if "validation" in splits:
            evaluated[name] = splits["validation"]
        raw[name] = splits if isinstance(dataset, Task) else reader.raw_splits(name, splits)
    given_evaluated = dict(eval_dataset or {})
    for name, rows in given_evaluated.items():
        raw[name] = {split: own for split, own in raw.get(name, {}).items() if split != "validation"}
        raw[name] |= reader.raw_splits(name, {"validation": rows})
    evaluated |= given_evaluated
    made = {name: reader.task_of(name, splits, tasks.get(name)) for name, splits in raw.items() if splits}
    if eval_dataset is None and any(task.validation is not None for task in tasks.values()):
        evaluated = tokenized_split(tasks, "validation", processing_class, args) | evaluated
    for split, sets in (("train", trained), ("validation", evaluated)):
        if own := {name: task for name, task in made.items() if split in raw[name] and name in sets}:
            sets |= tokenized_split(own, split, processing_class, args)
    if lacking := [name for name, rows in trained.items() if rows is None]:
        raise ValueError(f"task {lacking[0]!r} has no training rows: give it some, or leave it out of `train_dataset`")
    return tasks | made, trained if named else train_dataset, evaluated or eval_dataset


def tokenized_rows(
    rows: Any, task: Task | None, name: str, split: str, tokenizer: Any, collate: Any, args: MultitaskSettings
) -> Any:
    """
    The rows to evaluate or predict, tokenised if they are raw.

    Args:
        rows (`Dataset`): The rows that the user passes.
        task (`Task`, *optional*): Their task, if it is known.
        name (`str`): The task's name.
        split (`str`): `"validation"` or `"test"`.
        tokenizer (`Any`): The tokenizer.
        collate (`Callable`, *optional*): The task's collator. One of the user's own may tokenise.
        args (`MultitaskSettings`): For `max_length`.

    Raises:
        ValueError: If rows are raw, and how they are tokenised is not known.
    """
    if not is_raw(rows) or not only_pads(collate):
        return rows
    if task is None:
        raise ValueError(
            f"the rows of task {name!r} have the columns {', '.join(rows.column_names)} and no input_ids: tokenise "
            "them as you tokenised its training rows"
        )
    own: dict[str, Any] = _with_label_column({split: rows}, task.label_column)
    return tokenized_split({name: Task.from_spec(task.spec, **own)}, split, tokenizer, args)[name]


class _RawReader:
    """Finds raw rows and makes tasks of them."""

    def __init__(self, tokenizer: Any, collators: Any, model: Any) -> None:
        self.tokenizer, self.collators = tokenizer, collators
        bare = unwrap_peft(model)
        self.heads = bare.config.tasks if isinstance(bare, MultitaskModel) else {}
        # A module of the user's own may read other columns than tokens.
        self.reads_texts = model is None or isinstance(bare, MultitaskModel) or tokenizer is not None

    def tasks(self, given: Mapping[str, Any]) -> dict[str, Task]:
        """The user's tasks. Those that are raw rows become a [`Task`]."""
        for name, task in given.items():
            if not (isinstance(task, Task) or is_dataset(task)):
                raise TypeError(
                    f"tasks holds a {type(task).__name__} under {name!r}: pass a Task, a `datasets.Dataset` or a "
                    "`datasets.DatasetDict` for each name, or a list of Task"
                )
        return {
            name: task if isinstance(task, Task) else self.task_of(name, _splits(name, task))
            for name, task in given.items()
        }

    def raw_splits(self, name: str, splits: Mapping[str, Any]) -> dict[str, Any]:
        """Those splits of a task that are to be tokenised."""
        collate = self.collators.get(name) if isinstance(self.collators, Mapping) else self.collators
        if not only_pads(collate) or not self.reads_texts:
            return {}
        raw = {split: rows for split, rows in splits.items() if is_raw(rows)}
        if raw and self.tokenizer is None:
            columns = ", ".join(next(iter(raw.values())).column_names)
            raise ValueError(
                f"the dataset of task {name!r} is not tokenised, it has the columns {columns}: pass the encoder's "
                "tokenizer as `processing_class`, or rows with input_ids and labels"
            )
        return raw

    def task_of(self, name: str, splits: Mapping[str, Any], task: Task | None = None) -> Task:
        """A task with these raw rows, and the settings of `task` or those that the columns and the head say."""
        if task is not None:
            return replace(task, **_with_label_column(splits, task.label_column))
        first = next(iter(splits.values()))
        head = self.heads.get(name, {})
        known = {key: head[key] for key in ("kind", "problem_type") if head.get(key) is not None}
        settings = guess_settings(name, first, known)
        splits = _with_label_column(splits, settings.get("label_column"))
        return Task(name=name, **settings | self._labels_of_head(name, first, settings), **splits)

    def _labels_of_head(self, name: str, rows: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The head's labels, if the rows do not name them."""
        labels = self.heads.get(name, {}).get("labels")
        kind, problem_type = settings["kind"], settings.get("problem_type")
        column = settings.get("label_column", "label")
        if labels is None or not find_kind(kind, problem_type).has_classes or names_ids(rows, column):
            return {}
        try:
            found = labels_in(rows, kind, problem_type, column)
        except ValueError:  # such as flags, which need names
            found = None
        return {} if found is not None and set(found[0]) == set(labels) else {"labels": tuple(labels)}


def _splits(name: str, dataset: Any) -> dict[str, Any]:
    if isinstance(dataset, Task):
        return {split: rows for split in SPLITS if (rows := getattr(dataset, split)) is not None}
    if not (isinstance(dataset, Mapping) and is_dataset(dataset)):
        return {"train": dataset}
    splits = splits_of(name, dataset)
    if unread := [split for split in dataset if split not in splits]:
        logger.warning("The splits %s of task %r are not read.", ", ".join(map(str, unread)), name)
    return splits


def _with_label_column(splits: Mapping[str, Any], column: str | None) -> dict[str, Any]:
    """Rows with their labels in `column`, whether it is called `label` or `labels`."""
    renamed = dict(splits)
    for split, rows in splits.items():
        others = [name for name in LABEL_COLUMNS if name in rows.column_names]
        if column in LABEL_COLUMNS and column not in rows.column_names and len(others) == 1:
            renamed[split] = rows.rename_column(others[0], column)
    return renamed
