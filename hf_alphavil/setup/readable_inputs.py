"""What an encoder can read: lengths, token ids and token types, of a row or of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..modeling.limits import max_positions, num_token_embeddings, num_token_types

#: How to give the encoder an embedding for every token.
EMBEDDINGS_ADVICE = "pass the encoder's own tokenizer, or call `model.resize_token_embeddings(len(tokenizer))`"
#: Inputs with a value for each token, beside the token ids.
PER_TOKEN = ("attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True)
class ReadableInputs:
    """
    The limits of an encoder, and checks that inputs are within them. `None` where there is no limit.

    Args:
        num_positions (`int`, *optional*): The most tokens in a row.
        num_tokens (`int`, *optional*): The number of token ids.
        num_token_types (`int`, *optional*): The number of values of `token_type_ids`.
    """

    num_positions: int | None
    num_tokens: int | None
    num_token_types: int | None

    @classmethod
    def of(cls, encoder: nn.Module) -> ReadableInputs:
        """The limits of an encoder."""
        return cls(max_positions(encoder), num_token_embeddings(encoder), num_token_types(encoder))

    def check(self, inputs: Mapping[str, Any], dimensions: int) -> None:
        """
        Checks the values of inputs.

        Args:
            inputs (`Mapping[str, Any]`): A row or a batch.
            dimensions (`int`): Dimensions of its `input_ids`.

        Raises:
            ValueError: If the encoder cannot read them. The message says what they have.
        """
        if "input_ids" not in inputs:
            return
        for ids in _sequences(inputs["input_ids"], dimensions):
            if self.num_positions is not None and ids.shape[-1] > self.num_positions:
                raise ValueError(
                    f"has {ids.shape[-1]} tokens, and the encoder has {self.num_positions} positions: pass "
                    f"max_length={self.num_positions} or less; rows that you tokenise yourself need truncation=True, "
                    f"max_length={self.num_positions}"
                )
            if (lowest := int(ids.min())) < 0:
                raise ValueError(f"has the token id {lowest}: token ids start at 0, and labels alone may be -100")
            if self.num_tokens is not None and (largest := int(ids.max())) >= self.num_tokens:
                raise ValueError(
                    f"has the token id {largest}, and the encoder has embeddings of {self.num_tokens} tokens: "
                    f"{EMBEDDINGS_ADVICE}"
                )
        if self.num_token_types is not None and "token_type_ids" in inputs:
            for types in _sequences(inputs["token_type_ids"], dimensions):
                if not 0 <= int(types.min()) <= int(types.max()) < self.num_token_types:
                    raise ValueError(
                        f"has token_type_ids from {types.min()} to {types.max()}, and the encoder knows 0 to "
                        f"{self.num_token_types - 1}: tokenise with the encoder's own tokenizer, or leave them out"
                    )


def shape_of_inputs(inputs: Mapping[str, Any], dimensions: int) -> tuple[int, ...]:
    """
    The shape of a row's or a batch's `input_ids`, to which the other inputs must fit.

    Args:
        inputs (`Mapping[str, Any]`): A row or a batch.
        dimensions (`int`): Dimensions of its `input_ids`.

    Raises:
        ValueError: If there are no tokens, or if other inputs have another shape.
    """
    if inputs.get("inputs_embeds") is not None and "input_ids" not in inputs:
        return tuple(np.shape(inputs["inputs_embeds"])[:-1])
    if "input_ids" not in inputs:
        columns = f"only {', '.join(inputs)}" if inputs else "nor any other input of the model"
        raise ValueError(f"has no input_ids, {columns}: pass tokenised rows, such as `tokenizer(text)` gives")
    shape = _shape(inputs["input_ids"], dimensions)
    if not shape or 0 in shape:
        raise ValueError("has no tokens: leave it out, or give it a text")
    for name in PER_TOKEN:
        other = _shape(inputs[name], dimensions) if inputs.get(name) is not None else shape
        if len(other) == len(shape) and other != shape:
            raise ValueError(f"has {name} of the shape {other} and input_ids of the shape {shape}: pass one per token")
    return shape


def as_array(value: Any) -> np.ndarray:
    """A value of a row as an array, of the type `object` if it is no number and no list of numbers of one shape."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    try:
        return np.asarray(value)
    except ValueError:
        return np.array(None, dtype=object)


def _shape(value: Any, dimensions: int) -> tuple[int, ...]:
    """The shape of nested lists, with the longest of each level, or of an array."""
    if isinstance(value, Tensor | np.ndarray) and value.dtype != object:
        shape = tuple(value.shape)
    elif not _is_list(value) or (dimensions > 1 and not all(map(_is_list, value))):
        shape = ()
    elif dimensions == 1:
        shape = (len(value),)
    else:
        shape = (len(value), *map(max, zip(*(_shape(part, dimensions - 1) for part in value), strict=True)))
    if len(shape) < dimensions:
        wanted = "a list of token ids" + " for each choice" * (dimensions > 1)
        raise ValueError(f"has the inputs {value!r:.80}, which are not {wanted}")
    return shape


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


def _sequences(value: Any, dimensions: int) -> list[np.ndarray]:
    """Integer arrays whose last dimension is the tokens: one, or one per choice if their lengths differ."""
    if dimensions > 1 and not isinstance(value, Tensor | np.ndarray):
        return [ids for part in value for ids in _sequences(part, dimensions - 1)]
    ids = as_array(value)
    if ids.dtype.kind not in "iu" or ids.ndim != dimensions or not ids.size:
        raise ValueError(f"has the inputs {value!r:.80}, which are not a list of integers (token ids)")
    return [ids]
