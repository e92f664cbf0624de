"""Checks that an encoder can read the tokens of all rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import datasets
import pyarrow
import pyarrow.compute
from torch import nn
from transformers import PreTrainedTokenizerBase

from ..data import TaskDataset
from ..data.underlying import underlying
from ..modeling import MultitaskModel, unwrap_peft
from ..modeling.limits import max_positions, num_token_embeddings
from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)

#: Types of Arrow's lists.
LISTS = (pyarrow.ListType, pyarrow.LargeListType, pyarrow.FixedSizeListType)


def limit_max_length(args: MultitaskSettings, model: nn.Module | None) -> None:
    """
    Lowers `max_length` to the number of positions of the encoder.

    Args:
        args (`MultitaskSettings`): The settings. Their `max_length` is set in place.
        model (`torch.nn.Module`, *optional*): The model, if it exists already.
    """
    model = unwrap_peft(model)
    limit = max_positions(model.encoder) if isinstance(model, MultitaskModel) else None
    if limit is None or (args.max_length is not None and args.max_length <= limit):
        return
    if args.max_length is not None:
        logger.warning(
            "max_length=%d is more than the %d positions of the encoder: texts are truncated to %d tokens.",
            args.max_length, limit, limit,
        )  # fmt: skip
    args.max_length = limit


def check_inputs(model: nn.Module, sets: Sequence[TaskDataset], tokenizer: Any, predicts_tokens: bool) -> None:
    """
    Checks that the encoder has a position and an embedding for every token.

    Args:
        model (`torch.nn.Module`): The bare model, without adapters.
        sets (`Sequence[TaskDataset]`): Training and validation sets.
        tokenizer (`Any`): The tokenizer, if there is one.
        predicts_tokens (`bool`): Whether a task replaces tokens by others, as masked language modelling does.

    Raises:
        ValueError: If it has not.
    """
    if not isinstance(model, MultitaskModel):
        return
    positions, embeddings = max_positions(model.encoder), num_token_embeddings(model.encoder)
    advice = "pass the encoder's own tokenizer, or call `model.resize_token_embeddings(len(tokenizer))`"
    if embeddings is not None and isinstance(tokenizer, PreTrainedTokenizerBase):
        both = f"the tokenizer has {len(tokenizer)} tokens, and the encoder has embeddings of {embeddings}"
        if (tokenizer.pad_token_id or 0) >= embeddings or (predicts_tokens and len(tokenizer) > embeddings):
            raise ValueError(f"{both}: {advice}")
        if len(tokenizer) > embeddings:
            logger.warning("%s: a text with one of the others cannot be read; %s.", both, advice)
    for dataset in sets:
        longest, largest = _longest_and_largest(dataset)
        if positions is not None and longest > positions:
            raise ValueError(
                f"a row of task {dataset.task!r} has {longest} tokens, and the encoder has {positions} positions: "
                f"tokenise with truncation=True, max_length={positions}"
            )
        if embeddings is not None and largest >= embeddings:
            raise ValueError(
                f"a row of task {dataset.task!r} has the token id {largest}, and the encoder has embeddings of "
                f"{embeddings} tokens: {advice}"
            )


def _longest_and_largest(dataset: Any) -> tuple[int, int]:
    """The length of the longest input of a dataset, and its largest token id; 0 where they are not known."""
    rows, numbers = underlying(dataset)
    if not isinstance(rows, datasets.Dataset) or "input_ids" not in rows.column_names or not len(dataset):
        return 0, 0
    rows = rows.select_columns("input_ids") if numbers is None else rows.select_columns("input_ids").select(numbers)
    longest = largest = 0
    for batch in rows.with_format("arrow").iter(batch_size=10_000):
        values = batch["input_ids"]
        length = None
        while isinstance(values.type, LISTS):  # those of multiple choice are nested
            length = pyarrow.compute.max(pyarrow.compute.list_value_length(values)).as_py()
            values = pyarrow.compute.list_flatten(values)
        longest = max(longest, length or 0)
        if pyarrow.types.is_integer(values.type):
            largest = max(largest, pyarrow.compute.max(values).as_py() or 0)
    return longest, largest
