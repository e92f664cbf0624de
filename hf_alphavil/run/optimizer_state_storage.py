"""Where the optimizer states of phases are kept between uses, and in which dtype."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..distributed.fsdp import local_tensor, sharded_like

#: The entries of an optimizer's state by parameter.
State: TypeAlias = "defaultdict[Tensor, dict[str, Any]]"


@dataclass(frozen=True)
class OptimizerStateStorage:
    """
    Device and dtype of stored optimizer states. A tensor is copied only if one of the two differs from its own.

    Scalars, such as Adam's step, stay as they are. Of sharded tensors, this process's shards are stored.

    Args:
        device (`str`, *optional*, defaults to `"device"`):
            `"device"` is the parameters' device; `"cpu"` is CPU memory, pinned if the parameters are on CUDA.
        dtype (`str`, *optional*, defaults to `"float32"`):
            `"float32"` is the optimizer's own precision, `"bfloat16"` rounds a state once, when it is stored.
    """

    device: str = "device"
    dtype: str = "float32"

    def store(self, state: Mapping[Tensor, dict[str, Any]], into: Mapping[Tensor, dict[str, Any]]) -> State:
        """
        Stores an optimizer's state, which must not be used afterwards.

        Args:
            state (`Mapping[torch.Tensor, dict]`): The state.
            into (`Mapping[torch.Tensor, dict]`): A stored state that is no longer needed. Its memory is used again.
        """
        stored = new_state()
        for parameter, entries in state.items():
            old = into.get(parameter, {})
            stored[parameter] = {key: self._stored(value, old.get(key)) for key, value in entries.items()}
        _wait_for_copies(stored)
        return stored

    def load(
        self, stored: Mapping[Tensor, dict[str, Any]], copy: bool, into: Mapping[Tensor, dict[str, Any]] | None = None
    ) -> State:
        """
        A stored state, ready for the optimizer.

        Args:
            stored (`Mapping[torch.Tensor, dict]`): The stored state.
            copy (`bool`): Whether the stored state is needed afterwards, which the optimizer would change.
            into (`Mapping[torch.Tensor, dict]`, *optional*):
                A state that was stored and is no longer needed. A copy uses its memory again.
        """
        state = new_state()
        for parameter, entries in stored.items():
            old = (into or {}).get(parameter, {})
            state[parameter] = {
                key: self._loaded(value, parameter, copy, old.get(key)) for key, value in entries.items()
            }
        return state

    def _stored(self, value: Any, old: Tensor | None) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0:
            return value
        value = local_tensor(value)
        device = torch.device("cpu") if self.device == "cpu" else value.device
        dtype = torch.bfloat16 if self.dtype == "bfloat16" and value.is_floating_point() else value.dtype
        if (device, dtype) == (value.device, value.dtype):
            return value
        if old is None:
            pins = value.is_cuda and device.type == "cpu"
            old = torch.empty_like(value, device=device, dtype=dtype, pin_memory=pins)
        # Rounded before the copy, which then moves half the bytes.
        return old.copy_(value.to(dtype), non_blocking=value.is_cuda)

    def _loaded(self, value: Any, parameter: Tensor, copy: bool, old: Tensor | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.dim() == 0:
            return value.clone() if copy else value
        loaded = value.to(parameter.device, non_blocking=parameter.is_cuda)
        if self.dtype == "bfloat16":
            loaded = loaded.to(parameter.dtype)
        if copy and loaded is value:
            loaded = value.clone() if old is None else old.copy_(value)
        return sharded_like(loaded, parameter)


def new_state() -> State:
    """`defaultdict`: The state of an optimizer that has taken no step."""
    return defaultdict(dict)


def _wait_for_copies(stored: Mapping[Tensor, dict[str, Any]]) -> None:
    """Copies into pinned memory go on while Python continues; a checkpoint would read unfinished ones."""
    if any(parameter.is_cuda for parameter in stored):
        torch.cuda.current_stream().synchronize()
