"""Task weights that a torch optimizer updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .plain_state import optimizer_from_json, optimizer_to_json


class LearnedWeights:
    """
    One number per task, updated by a torch optimizer. Its state is JSON-serialisable.

    Args:
        names (`Sequence[str]`): The tasks.
        initial (`float`): Initial value of every weight.
        optimizer (`type[torch.optim.Optimizer]`): `torch.optim.SGD` or `torch.optim.Adam`.
        settings (`Any`): The optimizer's settings, such as `lr`.
    """

    def __init__(
        self, names: Sequence[str], initial: float, optimizer: type[torch.optim.Optimizer], **settings: Any
    ) -> None:
        self.names = tuple(names)
        self.tensor = torch.full((len(self.names),), initial, dtype=torch.float64, requires_grad=True)
        self.optimizer = optimizer([self.tensor], **settings)

    def values(self) -> dict[str, float]:
        """`dict[str, float]`: The weights by task."""
        return dict(zip(self.names, self.tensor.tolist(), strict=True))

    def step(self, gradient: Tensor) -> None:
        """
        Takes one step of the optimizer.

        Args:
            gradient (`torch.Tensor`): Gradient with respect to the weights, of shape `(tasks,)`.
        """
        self.tensor.grad = gradient.to(self.tensor.dtype)
        self.optimizer.step()

    @torch.no_grad()
    def clamp(self, minimum: float) -> None:
        """Raises weights below `minimum` to `minimum`."""
        self.tensor.clamp_(min=minimum)

    @torch.no_grad()
    def shift_to_sum(self, total: float) -> None:
        """Adds the same number to every weight, so that they sum to `total`."""
        self.tensor.add_((total - self.tensor.sum()) / len(self.names))

    @torch.no_grad()
    def scale_to_sum(self, total: float) -> None:
        """Multiplies every weight by the same factor, so that they sum to `total`."""
        self.tensor.mul_(total / self.tensor.sum())

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The weights and the optimizer's state, JSON-serialisable."""
        return {"values": self.tensor.tolist(), "optimizer": optimizer_to_json(self.optimizer)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        with torch.no_grad():
            self.tensor.copy_(torch.tensor(state["values"], dtype=self.tensor.dtype))
        optimizer_from_json(self.optimizer, state["optimizer"])
