"""Where θ0 and deltas are kept between uses, and in which dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Storage:
    """
    Device and dtype of stored tensors.

    Args:
        device (`str`, *optional*, defaults to `"device"`):
            `"device"` is the parameters' device; `"cpu"` is CPU memory, pinned if the parameters are on CUDA.
        dtype (`str`, *optional*, defaults to `"float32"`):
            The dtype of deltas: `"float32"` is the parameters' own precision, `"bfloat16"` rounds a delta once, when
            it is stored. θ0 always keeps the parameters' dtype.
    """

    device: str = "device"
    dtype: str = "float32"

    def store(self, value: Tensor, into: Tensor | None = None) -> Tensor:
        """
        A stored copy in the tensor's own dtype.

        Args:
            value (`torch.Tensor`): A tensor on the parameters' device.
            into (`torch.Tensor`, *optional*): A stored tensor that is no longer needed. Its memory is used again.
        """
        value = value.detach()
        return (torch.empty_like(value, **self._placement(value)) if into is None else into).copy_(value)

    def empty_deltas(self, shape: tuple[int, int], like: Tensor) -> Tensor:
        """
        A matrix for deltas, without values.

        Args:
            shape (`tuple[int, int]`): Its shape.
            like (`torch.Tensor`): The parameter whose deltas it will hold.
        """
        dtype = torch.bfloat16 if self.dtype == "bfloat16" else like.dtype
        return torch.empty(shape, dtype=dtype, **self._placement(like))

    def _placement(self, like: Tensor) -> dict[str, Any]:
        on_cpu = self.device == "cpu"
        return {"device": torch.device("cpu") if on_cpu else like.device, "pin_memory": on_cpu and like.is_cuda}


def loaded(stored: Tensor, like: Tensor) -> Tensor:
    """
    A stored tensor, ready for arithmetic with another one.

    Args:
        stored (`torch.Tensor`): The stored tensor.
        like (`torch.Tensor`): The tensor whose device and dtype it takes.

    Returns:
        `torch.Tensor`: The stored tensor itself if device and dtype are equal, otherwise a copy.
    """
    # In two steps: one call would convert on the CPU and move twice the bytes.
    return stored.to(like.device).to(like.dtype)
