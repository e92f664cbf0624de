"""GradNorm: weights under which all tasks train at a similar rate."""

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

#: Lower bound of a weight (ours). The paper's rule keeps only their sum, and a negative weight would ascend the loss.
MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class GradNormOptions:
    """
    Options of [`GradNorm`].

    Args:
        asymmetry (`float`, *optional*, defaults to 1.5): Exponent of a task's relative training rate.
        weight_learning_rate (`float`, *optional*, defaults to 0.025): Step size of Adam on the weights.
    """

    asymmetry: float = 1.5
    weight_learning_rate: float = 0.025

    def __post_init__(self) -> None:
        require("asymmetry", self.asymmetry, self.asymmetry >= 0, "a number, 0 or more")
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )


class GradNorm(StepMethod):
    """
    GradNorm (Chen et al., arXiv 1711.02257): w moves so that ‖w_t g_t‖ on the last shared layer approaches
    mean_s ‖w_s g_s‖ · r_t^1.5, where r_t = (L_t/L_t(0)) / mean_s (L_s/L_s(0)); Σ w = T.

    Every step takes one Adam step on Σ_t |‖w_t g_t‖ − target_t| with constant targets. Our reading: the last shared
    layer is the last shared parameter with two or more dimensions, in the order of `named_parameters()`; L_t(0) is the
    loss in the first step; and w_t is raised to at least 0.001 before scaling.
    """

    name = "gradnorm"
    needs_shared_parameters = True
    Options = GradNormOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._weights = LearnedWeights(self.order, 1.0, torch.optim.Adam, lr=self.options.weight_learning_rate)
        self._first_losses: list[float] = []

    def weigh(self, step: Step) -> Mapping[str, float]:
        losses = torch.tensor([step.losses[task] for task in self.order], dtype=torch.float64)
        self._first_losses = self._first_losses or losses.tolist()
        rates = losses / torch.tensor(self._first_losses, dtype=torch.float64)
        weights = self._weights.values()
        shared = step.gradients.shared
        layer = max((i for i in shared if step.gradients.parameters[i].dim() > 1), default=shared[-1])
        norms = step.gradients.norms(layer)
        weighted = self._weights.tensor.detach() * norms
        wanted = weighted.mean() * (rates / rates.mean()) ** self.options.asymmetry
        self._weights.step((weighted - wanted).sign() * norms)
        self._weights.clamp(MIN_WEIGHT)
        self._weights.scale_to_sum(len(self.order))
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights.state_dict(), "first_losses": self._first_losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._weights.load_state_dict(state["weights"])
        self._first_losses = list(state["first_losses"])
