"""Multiple choice beyond transformers: with a one-label sequence classifier, and with unequal numbers of choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import MultipleChoiceModelOutput

# Inputs with a choice dimension, and their number of dimensions.
CHOICE_INPUTS = {"input_ids": 3, "attention_mask": 3, "token_type_ids": 3, "position_ids": 3, "inputs_embeds": 4}


def score_choices(native: PreTrainedModel, inputs: dict[str, Any]) -> MultipleChoiceModelOutput | tuple:
    """
    Scores every choice separately, then compares the scores of each row's choices.

    Args:
        native (`PreTrainedModel`): A sequence classifier with one label.
        inputs (`dict`): The inputs of a multiple-choice model: tensors of shape `(batch, choices, length)`
            (`inputs_embeds`: `(batch, choices, length, hidden)`) and `labels` of shape `(batch,)`, the right choices.

    Returns:
        `MultipleChoiceModelOutput` or, with `return_dict=False`, a `tuple`: The cross entropy over the choices (if
        `labels` are given) and logits of shape `(batch, choices)`.

    Raises:
        ValueError: If an input has no choice dimension.
    """
    inputs = dict(inputs)
    labels = inputs.pop("labels", None)
    return_dict = inputs.pop("return_dict", native.config.return_dict)

    num_choices = None
    for name, dimensions in CHOICE_INPUTS.items():
        if name not in inputs:
            continue
        if inputs[name].dim() != dimensions:
            raise ValueError(
                f"{name} of a multiple-choice task must have {dimensions} dimensions (batch, choices, length, ...), "
                f"got shape {tuple(inputs[name].shape)}"
            )
        num_choices = inputs[name].shape[1]
        inputs[name] = inputs[name].flatten(0, 1)
    if num_choices is None:
        raise ValueError("a multiple-choice task needs input_ids or inputs_embeds")

    outputs = native(**inputs, return_dict=True)
    return _output_of(outputs.logits.view(-1, num_choices), labels, outputs, return_dict)


def score_present_choices(
    score: Callable[[PreTrainedModel, dict[str, Any]], Any], native: PreTrainedModel, inputs: dict[str, Any]
) -> MultipleChoiceModelOutput | tuple:
    """
    Scores rows that have fewer choices than others.

    Only the choices that exist run through the model. Padding with empty texts would give NaN gradients, because
    attention would have no tokens.

    Args:
        score (`Callable`): Runs a native model on a batch of multiple-choice inputs.
        native (`PreTrainedModel`): The native model.
        inputs (`dict`):
            The inputs of a multiple-choice model, `(batch, choices, length)`, and `choice_mask`, a boolean tensor of
            shape `(batch, choices)`: which choices exist. `labels` count only those.

    Returns:
        `MultipleChoiceModelOutput` or, with `return_dict=False`, a `tuple`: The cross entropy over each row's choices
        (if `labels` are given) and logits of shape `(batch, choices)`; missing choices have the dtype's lowest number.
    """
    inputs = dict(inputs)
    present, labels = inputs.pop("choice_mask"), inputs.pop("labels", None)
    return_dict = inputs.pop("return_dict", native.config.return_dict)
    # Rows of one choice each. Numbers, because every index that is a mask would wait for the device.
    numbers = present.flatten().nonzero().squeeze(1)
    chosen = {
        name: value.flatten(0, 1)[numbers].unsqueeze(1) if name in CHOICE_INPUTS else value
        for name, value in inputs.items()
    }
    outputs = score(native, chosen | {"return_dict": True})
    scores = outputs.logits.flatten()
    lowest = torch.full(present.shape, torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
    return _output_of(lowest.masked_scatter(present, scores), labels, outputs, return_dict)


def _output_of(
    logits: torch.Tensor, labels: torch.Tensor | None, outputs: Any, return_dict: bool
) -> MultipleChoiceModelOutput | tuple:
    """Builds the multiple-choice output from the logits and the outputs of the model that scored each choice."""
    loss = None if labels is None else F.cross_entropy(logits, labels)
    # Encoder-decoder models have these under other names, for encoder and decoder.
    result = MultipleChoiceModelOutput(
        loss=loss, logits=logits, hidden_states=outputs.get("hidden_states"), attentions=outputs.get("attentions")
    )
    return result if return_dict else result.to_tuple()


@dataclass
class ChoiceSmoother:
    """
    Label smoothing over each row's choices: the mean over rows of (1 − ε)·(−log p_y) + ε·mean_c(−log p_c).

    transformers' `LabelSmoother` takes the mean over all columns, but the logit of a missing choice is the dtype's
    lowest number.

    Args:
        epsilon (`float`): Label smoothing factor.
        choice_mask (`torch.Tensor` of shape `(batch, choices)`): Which choices exist.
    """

    epsilon: float
    choice_mask: torch.Tensor

    def __call__(self, model_output: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = model_output["logits"] if isinstance(model_output, dict) else model_output[0]
        losses = -logits.log_softmax(dim=-1)
        of_label = losses.gather(-1, labels[:, None]).squeeze(-1)
        of_all = losses.masked_fill(~self.choice_mask, 0.0).sum(dim=-1) / self.choice_mask.sum(dim=-1)
        return ((1 - self.epsilon) * of_label + self.epsilon * of_all).mean()
