"""A model's buffers, such as batch-norm statistics, across the forks of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn


class ForkBuffers:
    """
    The buffers at θ0, and those of one chosen fork, which the merge takes.

    Buffers are not merged by coefficients: every fork starts from the buffers of θ0, and the merged model takes the
    buffers of the kept fork, or those of θ0 if no fork was kept. Buffers are always written in place.

    Args:
        model (`torch.nn.Module`): The bare model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._start: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    @property
    def current(self) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: The model's buffers. Read on each access, because DDP may replace them."""
        return dict(self.model.named_buffers())

    def copies(self) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: Copies of the model's buffers."""
        return {name: buffer.clone() for name, buffer in self.current.items()}

    def open(self) -> None:
        """Takes the current buffers as those of θ0."""
        self._start = self.copies()

    def keep(self) -> None:
        """Keeps the current buffers for the merge."""
        self._kept = self.copies()

    def rewind(self) -> None:
        """Writes the buffers of θ0 into the model."""
        self.write(self._start)

    def merge(self) -> None:
        """Writes the kept buffers into the model."""
        self.write(self._kept or self._start)

    @torch.no_grad()
    def write(self, values: Mapping[str, Tensor]) -> None:
        """Writes values into the model's buffers of the same names."""
        current = self.current
        for name, value in values.items():
            current[name].copy_(value)

    def share(self, source: int) -> None:
        """
        Gives every process the kept buffers of one of them. All processes must call it.

        Args:
            source (`int`): Rank of the process that has kept them.
        """
        kept = self._kept or self.copies()
        for buffer in kept.values():
            dist.broadcast(buffer, source)
        self._kept = kept

    def close(self) -> None:
        """Forgets the buffers of θ0 and the kept ones."""
        self._start, self._kept = {}, {}

    def state_tensors(self) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: `buffer/<name>`, the model's current ones, and `kept_buffer/<name>`."""
        tensors = {f"buffer/{name}": buffer for name, buffer in self.current.items()}
        return tensors | {f"kept_buffer/{name}": buffer for name, buffer in self._kept.items()}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """
        Inverse of [`state_tensors`]. Call [`open`] first, while the model holds the buffers of θ0.

        Args:
            tensors (`Mapping[str, torch.Tensor]`): What [`state_tensors`] returned.

        Raises:
            KeyError: If a buffer of the model is missing.
        """
        current = self.current
        self.write({name: tensors[f"buffer/{name}"] for name in current})
        self._kept = {
            name: tensors[f"kept_buffer/{name}"].to(buffer.device)
            for name, buffer in current.items()
            if f"kept_buffer/{name}" in tensors
        }
