"""Masked language modelling: predicts masked tokens of plain text without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data.masked_lm import MaskedLMCollator
from .base import TaskKind
from .heads import native_class_in
from .predictions import scored_tokens
from .spec import TaskSpec

#: The share of tokens to predict if no task sets it.
MLM_PROBABILITY = 0.15


def most_likely(logits: Tensor | tuple[Tensor, ...], labels: Any) -> Tensor:
    """The most likely class of each token, shape `(rows, tokens)`, from logits `(rows, tokens, classes)`."""
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(dim=-1)


class MaskedLM(TaskKind):
    """Predicts the token at each mask with the architecture's own language model head, tied to the embeddings."""

    name = "masked_lm"
    metrics = default_metrics = ("accuracy",)
    reads_labels = has_classes = learns_labels = has_predictions = False
    has_pretrained_head = True
    # Memory cannot hold the logits of the whole vocabulary for every token of an evaluation set.
    reduce_logits = staticmethod(most_likely)
    hub_task = "fill-mask"
    pipeline_call = 'fill(f"The words of a {fill.tokenizer.mask_token}.")'

    def collator(
        self, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec | None = None, seed: int | None = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        if tokenizer.mask_token is None:
            raise ValueError(
                "masked language modelling needs a tokenizer with a mask token, and "
                f"{tokenizer.name_or_path or type(tokenizer).__name__} has none: leave the task out, or use an "
                "encoder that was pretrained by masked language modelling"
            )
        share = spec.mlm_probability if spec is not None else MLM_PROBABILITY
        return MaskedLMCollator(tokenizer, mlm_probability=share, seed=seed)

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is not None or problem_type is not None:
            raise ValueError(f"masked language modelling takes no labels and no problem_type, got {labels}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return native_class_in(MODEL_FOR_MASKED_LM_MAPPING, encoder_config, "masked language modelling")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        config.problem_type = None

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        predicted, scored = scored_tokens(predictions, references)
        return (predicted[scored], references[scored]) if len(references) else ([], [])
