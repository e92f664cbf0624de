"""Lossless conversion of other libraries' small states to and from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TENSOR, _ARRAY, _DTYPE, _TUPLE = "tensor", "array", "dtype", "tuple"


def to_json(value: Any) -> Any:
    """
    Converts a value to JSON types.

    Args:
        value (`Any`):
            Tensors, arrays, dtypes, numbers, text, `None`, and containers of them. Keys of mappings become strings.

    Raises:
        TypeError: For a value of any other type.
    """
    if isinstance(value, Tensor):
        return {_TENSOR: value.tolist(), _DTYPE: str(value.dtype).removeprefix("torch.")}
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.tolist(), _DTYPE: str(value.dtype)}
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, tuple):
        return {_TUPLE: [to_json(item) for item in value]}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be stored as JSON in a checkpoint")


def from_json(value: Any) -> Any:
    """
    Inverse of [`to_json`], except that keys of mappings remain strings.

    Args:
        value (`Any`): What [`to_json`] returned.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if _TENSOR in value:
        return torch.tensor(value[_TENSOR], dtype=getattr(torch, value[_DTYPE]))
    if _ARRAY in value:
        return np.array(value[_ARRAY], dtype=value[_DTYPE])
    if value.keys() == {_DTYPE}:
        return getattr(torch, value[_DTYPE])
    if _TUPLE in value:
        return tuple(from_json(item) for item in value[_TUPLE])
    return {key: from_json(item) for key, item in value.items()}


def optimizer_to_json(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """
    The per-parameter state of an optimizer of a few numbers, JSON-serialisable.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer.
    """
    return to_json(optimizer.state_dict()["state"])


def optimizer_from_json(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """
    Inverse of [`optimizer_to_json`]. The optimizer keeps its settings.

    Args:
        optimizer (`torch.optim.Optimizer`): An optimizer of the same parameters in the same order.
        state (`Mapping[str, Any]`): What [`optimizer_to_json`] returned.
    """
    entries = {int(number): value for number, value in from_json(state).items()}
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
