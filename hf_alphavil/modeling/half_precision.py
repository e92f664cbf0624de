"""A frozen encoder in half precision, or quantized, below float32 adapters and heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .head_modules import head_modules

HALF_PRECISION = (torch.float16, torch.bfloat16)


def upcast_trainable(model: nn.Module) -> nn.Module:
    """
    Makes the trainable parameters of a model float32, because deltas are often smaller than the last bit of others.

    Frozen parameters keep their dtype. The heads of a [`MultitaskModel`] convert the encoder's outputs to their own.

    Args:
        model (`torch.nn.Module`): A model that is partly frozen, such as a `peft.PeftModel`. It is changed in place.

    Returns:
        `torch.nn.Module`: The model.
    """
    upcast(parameter for parameter in model.parameters() if parameter.requires_grad)
    return model


def upcast(parameters: Iterable[nn.Parameter]) -> None:
    """Makes float16 and bfloat16 parameters float32, in place."""
    for parameter in parameters:
        if parameter.dtype in HALF_PRECISION:
            parameter.data = parameter.data.float()


def convert_inputs_of_heads(model: Any) -> None:
    """
    Makes heads and pooler convert half-precision inputs to their own dtype if that has more bits.

    Args:
        model (`MultitaskModel`): The model. Copies of its modules, as adapters make them, convert their inputs too.
    """
    for name in head_modules(model):
        model.get_submodule(name).register_forward_pre_hook(_convert_inputs, with_kwargs=True)


def _convert_inputs(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
    dtype = next(module.parameters()).dtype
    if dtype in HALF_PRECISION or not dtype.is_floating_point:
        return None
    inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    half = [value for value in inputs if value.dtype in HALF_PRECISION]
    if not half or torch.is_autocast_enabled(half[0].device.type):  # autocast chooses the dtype of every operation
        return None

    def converted(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.dtype in HALF_PRECISION else value

    return tuple(map(converted, args)), {name: converted(value) for name, value in kwargs.items()}
