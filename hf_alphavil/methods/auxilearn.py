"""AuxiLearn, linear form: auxiliary weights by the hypergradient of the target's held-out loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..distributed.gradient_exchange import Gradient, add_gradient
from .gradients import norm
from .learned_weights import LearnedWeights
from .options import require
from .step_method import Step, StepMethod

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class AuxiLearnOptions:
    """
    Options of [`AuxiLearn`].

    Args:
        interval (`int`, *optional*, defaults to 30): Steps between updates of the weights.
        weight_learning_rate (`float`, *optional*, defaults to 0.01): Step size of the weights. The default is ours.
        momentum (`float`, *optional*, defaults to 0.9): Momentum of the weights.
        neumann_terms (`int`, *optional*, defaults to 3): J, the number of terms of the Neumann series after the first.
        neumann_learning_rate (`float`, *optional*, defaults to 1e-4): Step size of the series.
    """

    interval: int = 30
    weight_learning_rate: float = 0.01
    momentum: float = 0.9
    neumann_terms: int = 3
    neumann_learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        require("interval", self.interval, self.interval > 0, "a positive number of steps")
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )
        require("momentum", self.momentum, 0 <= self.momentum < 1, "a number in [0, 1)")
        require("neumann_terms", self.neumann_terms, self.neumann_terms >= 0, "a number of terms, 0 or more")
        require(
            "neumann_learning_rate", self.neumann_learning_rate, self.neumann_learning_rate > 0, "a positive step size"
        )


class AuxiLearn(StepMethod):
    """
    AuxiLearn's linear form (Navon et al., arXiv 2007.02693): trains on L_* + Σ_k a_k L_k; every 30 steps, SGD with
    momentum moves a along the hypergradient of the target's held-out loss, and a is clamped at 0.

    The hypergradient of a_k is −⟨p, g_k⟩, where a Neumann series approximates p ≈ H⁻¹v, v = ∇L_held-out, by
    p = Σ_j (I − ηH)^j v for j = 0 … J. Ours: a starts at 1; the step size absorbs the series' constant factor η;
    products with the Hessian H of the training loss are central differences of its gradient (ε = 0.01/‖v‖). Any
    attention kernel can compute those, while double backward passes need an eager one.
    """

    name = "auxilearn"
    needs_meta_set = True
    draws_meta_batches = True
    meta_use = "the hypergradient of task weights was taken"
    Options = AuxiLearnOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._a = LearnedWeights(
            self.order[1:], 1.0, torch.optim.SGD, lr=self.options.weight_learning_rate, momentum=self.options.momentum
        )

    def weigh(self, step: Step) -> Mapping[str, float]:
        if (self.num_steps + 1) % self.options.interval == 0:
            self._a.step(-step.gradients.inner_products(self._inverse_product(step))[1:])
            self._a.clamp(0.0)
        return self._weights()

    def _weights(self) -> dict[str, float]:
        return {self.order[0]: 1.0, **self._a.values()}

    def _inverse_product(self, step: Step) -> Gradient:
        """Σ_j (I − ηH)^j v, where v is the gradient of the target's held-out loss."""
        rows = step.meta_rows(self.args.alpha_batch_size)
        vector = step.meta.loss_and_gradient(rows)[1]
        total = list(vector)
        for _ in range(self.options.neumann_terms):
            curved = self._hessian_product(step, vector)
            add_gradient(vector, curved, -self.options.neumann_learning_rate)
            add_gradient(total, vector)
        return total

    def _hessian_product(self, step: Step, vector: Gradient) -> Gradient:
        length = norm(vector)
        if length == 0:
            return [None] * len(vector)
        epsilon = 0.01 / length
        with step.gradients.moved(vector, epsilon):
            difference = step.recomputed_gradient(self._weights())
        with step.gradients.moved(vector, -epsilon):
            add_gradient(difference, step.recomputed_gradient(self._weights()), -1.0)
        return [None if g is None else g / (2 * epsilon) for g in difference]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "a": self._a.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._a.load_state_dict(state["a"])
