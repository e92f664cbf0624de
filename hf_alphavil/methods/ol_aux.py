"""OL-AUX: auxiliary weights that follow, online, how well gradients agree with the target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .options import require
from .similarity import cosines_with_first
from .step_method import Step, StepMethod

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class OlAuxOptions:
    """
    Options of [`OLAux`].

    Args:
        interval (`int`, *optional*, defaults to 5): Steps between updates of the weights.
        weight_learning_rate (`float`, *optional*, defaults to 0.1): β, the weights' step size. The default is ours.
    """

    interval: int = 5
    weight_learning_rate: float = 0.1

    def __post_init__(self) -> None:
        require("interval", self.interval, self.interval > 0, "a positive number of steps")
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )


class OLAux(StepMethod):
    """
    OL-AUX (Lin et al., NeurIPS 2019): trains on L_* + Σ_k w_k L_k; after every 5 steps, w_k += β·Σ cos(g_*, g_k),
    summed over these steps, on shared parameters; w starts at 1.

    Using the cosine instead of the inner product follows a public port of the method. The lower bound of 0 is ours.
    """

    name = "ol_aux"
    Options = OlAuxOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._weights = torch.ones(len(self.order) - 1, dtype=torch.float64)
        self._sums = torch.zeros_like(self._weights)

    def weigh(self, step: Step) -> Mapping[str, float]:
        weights = dict(zip(self.order, [1.0, *self._weights.tolist()], strict=True))
        self._sums += cosines_with_first(step.gradients.gramian())[1:]
        if (self.num_steps + 1) % self.options.interval == 0:
            self._weights = (self._weights + self.options.weight_learning_rate * self._sums).clamp(min=0)
            self._sums = torch.zeros_like(self._weights)
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights.tolist(), "sums": self._sums.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._weights = torch.tensor(state["weights"], dtype=torch.float64)
        self._sums = torch.tensor(state["sums"], dtype=torch.float64)
