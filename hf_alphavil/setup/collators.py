"""One collator for the batches of all tasks."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    default_data_collator,
)

from ..data import TaskCollator
from ..data.masked_lm import MaskedLMCollator
from ..data.multiple_choice import MultipleChoiceCollator
from ..settings import MultitaskSettings
from ..tasks.tokenization import WORD_POSITIONS

if TYPE_CHECKING:
    from ..tasks import Task
logger = logging.getLogger(__name__)


def make_collator(
    args: MultitaskSettings,
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
        args (`MultitaskSettings`): For `remove_unused_columns` and `label_names`.
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
