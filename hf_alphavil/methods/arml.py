"""ARML: auxiliary weights under which the auxiliaries' gradients look like the target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .learned_weights import LearnedWeights
from .options import require
from .step_method import Step, StepMethod

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class ArmlOptions:
    """
    Options of [`ARML`].

    Args:
        interval (`int`, *optional*, defaults to 20): Steps between updates of the weights.
        weight_learning_rate (`float`, *optional*, defaults to 0.05): Step size of the weights.
    """

    interval: int = 20
    weight_learning_rate: float = 0.05

    def __post_init__(self) -> None:
        require("interval", self.interval, self.interval > 0, "a positive number of steps")
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )


class ARML(StepMethod):
    """
    ARML (Shi et al., arXiv 2010.08244): trains on L_* + Σ_k a_k L_k; a starts at 1.

    In every 20th step, a takes a gradient step on ‖g_* − Σ_k a_k g_k‖² over the shared parameters, is shifted so that
    Σ a = K, and is clamped at 0. This update needs only the inner products of the gradients.
    """

    name = "arml"
    Options = ArmlOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._a = LearnedWeights(self.order[1:], 1.0, torch.optim.SGD, lr=self.options.weight_learning_rate)

    def weigh(self, step: Step) -> Mapping[str, float]:
        if (self.num_steps + 1) % self.options.interval == 0:
            gramian = step.gradients.gramian()
            self._a.step(2.0 * (gramian[1:, 1:] @ self._a.tensor.detach() - gramian[0, 1:]))
            self._a.shift_to_sum(len(self._a.names))
            self._a.clamp(0.0)
        return {self.order[0]: 1.0, **self._a.values()}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "a": self._a.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._a.load_state_dict(state["a"])
