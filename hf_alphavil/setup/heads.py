"""Checks the heads of a model against the tasks, and puts their outputs into the tasks' order of labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data import TaskDataset
from ..data.tables import is_of_library
from ..data.underlying import underlying
from ..kinds import find_kind
from ..modeling import MultitaskModel
from ..modeling.label_order import reorder_labels, set_labels_of_head
from ..tasks.labels import class_names

if TYPE_CHECKING:
    from ..tasks import Task

logger = logging.getLogger(__name__)


def match_heads(model: MultitaskModel, tasks: Mapping[str, Task], sets: Sequence[TaskDataset]) -> None:
    """
    Checks that each head has the kind and the labels of its task, and puts its outputs into the task's order of
    labels. The model is changed in place.

    Args:
        model (`MultitaskModel`): The model.
        tasks (`Mapping[str, Task]`): The user's [`Task`] objects by name.
        sets (`Sequence[TaskDataset]`):
            Training and validation sets. A dataset may name its label ids, as `datasets.ClassLabel` does. If the names
            are a head's labels in another order, they count as the task's labels.

    Raises:
        ValueError: If a head's kind, problem type or set of labels is not the task's, or if datasets of one task have
            their labels in different orders.
    """
    for name, head in model.config.tasks.items():
        wanted = tasks[name].head if name in tasks else None
        if wanted is not None:
            _match_head(model, name, wanted)
        for dataset in sets:
            labels = _label_names(dataset) if dataset.task == name else None
            if labels is None or set(labels) != set(head["labels"] or ()):
                continue  # the names of ids may be other words than the head's labels
            if wanted is None:
                wanted = {**head, "labels": labels}
                _match_head(model, name, wanted)
            else:
                check_label_names(dataset, wanted["labels"])


def check_label_names(dataset: TaskDataset, wanted: Sequence[str] | None) -> None:
    """
    Checks that a dataset which names its label ids names them in the order of its task's labels. Other names are the
    rows' own.

    Args:
        dataset (`TaskDataset`): The dataset.
        wanted (`Sequence[str]`, *optional*): The task's labels, if it has some.

    Raises:
        ValueError: If the names are the task's labels in another order.
    """
    labels = _label_names(dataset)
    if labels is not None and wanted is not None and set(labels) == set(wanted) and labels != list(wanted):
        raise ValueError(
            f"a dataset of task {dataset.task!r} names its label ids {labels}, and the task's labels are "
            f"{list(wanted)}: give all datasets of the task one order of labels "
            "(`datasets.Dataset.align_labels_with_mapping`)"
        )


def _match_head(model: MultitaskModel, name: str, wanted: Mapping[str, Any]) -> None:
    head = model.config.tasks[name]
    if any(head[key] != wanted[key] for key in ("kind", "problem_type")):
        raise ValueError(
            f"the model's head of task {name!r} is of the kind {_kind_in_words(head)}, and the task is of the kind "
            f"{_kind_in_words(wanted)}: {_ADVICE}"
        )
    kind = find_kind(head["kind"], head["problem_type"])
    if not kind.has_classes or head["labels"] == wanted["labels"]:
        return
    if not kind.has_output_per_label:
        set_labels_of_head(model, name, wanted["labels"])
        return
    both = f"the model's head of task {name!r} has the labels {head['labels']}, and the task has {wanted['labels']}"
    if set(head["labels"]) != set(wanted["labels"]):
        raise ValueError(f"{both}: {_ADVICE}")
    try:
        reorder_labels(model, name, wanted["labels"])
    except ValueError as error:
        raise ValueError(f"{both}. {error}, so pass the labels in the order of the head") from None
    logger.warning("%s: the outputs of the head were put into the order of the task.", both)


_ADVICE = (
    "pass the task as it was when the model was trained. To train a new head instead, start from an encoder or from "
    "an exported task (`MultitaskModel.from_encoder`; `--model_name_or_path`)"
)


def _kind_in_words(head: Mapping[str, Any]) -> str:
    labels = f" with the labels {head['labels']}" if head["labels"] is not None else ""
    return find_kind(head["kind"], head["problem_type"]).words + labels


def _label_names(dataset: Any) -> list[str] | None:
    """The names that a dataset gives to label ids, in the order of the ids."""
    dataset, _ = underlying(dataset)
    if is_of_library(dataset):
        for column in ("labels", "label"):
            if column in dataset.column_names:
                names = class_names(dataset, column)
                return list(names) if names is not None else None
    return None
