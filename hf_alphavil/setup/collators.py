"""Builds the collator that all tasks share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase, default_data_collator

from ..data import TaskCollator
from ..kinds import KINDS, find_kind
from ..modeling import MultitaskModel
from ..settings import MultitaskSettings
from .checked_collator import CheckedCollator
from .readable_inputs import ReadableInputs
from .task_setup import TaskSetup


def make_collator(
    args: MultitaskSettings,
    data_collator: Callable | Mapping[str, Callable] | None,
    processing_class: Any,
    model: nn.Module,
    setup: TaskSetup,
    has_own_loss: bool = False,
) -> TaskCollator:
    """
    Builds one collator for the batches of all tasks.

    Args:
        args (`MultitaskSettings`): For `remove_unused_columns` and `label_names`.
        data_collator (`Callable` or `Mapping[str, Callable]`, *optional*):
            The user's collator for all tasks, or collators by task.
        processing_class (`Any`): The tokenizer, if there is one.
        model (`torch.nn.Module`): The model. The parameters of its `forward` are the columns that it takes.
        setup (`TaskSetup`): The tasks.
        has_own_loss (`bool`, *optional*, defaults to `False`): Whether a function of the user's own reads the labels.

    Raises:
        ValueError: For a tokenizer that lacks what a kind needs, such as a mask token.
    """

    names, kinds, tasks = setup.names, setup.kinds, setup.tasks

    def default(name: str) -> Callable:
        if not isinstance(processing_class, PreTrainedTokenizerBase):
            return default_data_collator
        if name not in kinds:
            return DataCollatorWithPadding(processing_class)
        try:
            return find_kind(kinds[name]).collator(processing_class, tasks.get(name), args.resolved_data_seed)
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None

    if isinstance(data_collator, Mapping):
        collators = {name: data_collator.get(name) or default(name) for name in names}
    else:
        collators = {name: data_collator or default(name) for name in names}
    if isinstance(model, MultitaskModel):
        readable = ReadableInputs.of(model.encoder)
        for name in set(names) & set(setup.heads):
            head = setup.heads[name]
            collators[name] = CheckedCollator(name, collators[name], head, readable, reads_labels=not has_own_loss)
    dropped = {column for kind in KINDS.values() for column in kind.extra_columns}
    dropped |= {column for task in tasks.values() for column in task.score_columns}
    if not args.remove_unused_columns:
        return TaskCollator(collators, dropped=dropped)
    parameters = inspect.signature(model.forward).parameters
    columns = set(parameters) | {"label", "label_ids", "labels"} | set(args.label_names or ())
    columns |= set(getattr(processing_class, "model_input_names", ()))
    # The parameters of a PreTrainedModel are all that it takes. Any other model with **kwargs may take any tensor.
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    open_ended = open_ended and not isinstance(model, PreTrainedModel)
    return TaskCollator(collators, columns, keep_unknown_tensors=open_ended, dropped=dropped)
