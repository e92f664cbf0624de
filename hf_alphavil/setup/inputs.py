"""Fits the length of texts and the tokenizer to the encoder."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ..modeling import MultitaskModel, unwrap_peft
from ..modeling.limits import max_positions, num_token_embeddings
from ..settings import MultitaskSettings
from .readable_inputs import EMBEDDINGS_ADVICE

logger = logging.getLogger(__name__)


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


def check_tokenizer(model: nn.Module, tokenizer: Any, predicts_tokens: bool) -> None:
    """
    Checks that the encoder has an embedding for every token that can occur.

    Args:
        model (`torch.nn.Module`): The bare model, without adapters.
        tokenizer (`Any`): The tokenizer, if there is one.
        predicts_tokens (`bool`): Whether a task replaces tokens by others, as masked language modelling does.

    Raises:
        ValueError: If it has not.
    """
    if not isinstance(model, MultitaskModel) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        return
    embeddings = num_token_embeddings(model.encoder)
    if embeddings is None:
        return
    both = f"the tokenizer has {len(tokenizer)} tokens, and the encoder has embeddings of {embeddings}"
    if (tokenizer.pad_token_id or 0) >= embeddings or (predicts_tokens and len(tokenizer) > embeddings):
        raise ValueError(f"{both}: {EMBEDDINGS_ADVICE}")
    if len(tokenizer) > embeddings:
        logger.warning("%s: a text with one of the others cannot be read; %s.", both, EMBEDDINGS_ADVICE)
