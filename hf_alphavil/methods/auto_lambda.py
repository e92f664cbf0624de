"""Auto-Lambda: task weights from the target's held-out loss after a trial step."""

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
class AutoLambdaOptions:
    """
    Options of [`AutoLambda`].

    Args:
        weight_learning_rate (`float`, *optional*, defaults to 3e-4): Step size of Adam on the weights.
        initial (`float`, *optional*, defaults to 0.1): Initial value of every weight.
    """

    weight_learning_rate: float = 3e-4
    initial: float = 0.1

    def __post_init__(self) -> None:
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )
        require("initial", self.initial, self.initial > 0, "a number above 0")


class AutoLambda(StepMethod):
    """
    Auto-Lambda (Liu et al., arXiv 2202.03091): in every step the weights λ take an Adam step on the target's held-out
    loss at θ' = θ − η ∇Σ λ_t L_t; then θ takes its step under the new weights.

    The gradient of that loss with respect to λ_t is −η⟨∇L_held-out(θ'), g_t⟩, as θ' is linear in λ. The authors
    approximate the product by a finite difference of L_t along ∇L_held-out; we have g_t, and compute it exactly. The
    trial step has neither momentum nor weight decay (ours). Every step draws `alpha_batch_size` held-out rows.
    """

    name = "auto_lambda"
    needs_meta_set = True
    draws_meta_batches = True
    meta_use = "the gradient of task weights was taken"
    Options = AutoLambdaOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._lambda = LearnedWeights(
            self.order, self.options.initial, torch.optim.Adam, lr=self.options.weight_learning_rate
        )

    def weigh(self, step: Step) -> Mapping[str, float]:
        with step.gradients.moved(step.gradients.combination(self._lambda.values()), -step.learning_rate):
            _, ahead = step.meta.loss_and_gradient(step.meta_rows(self.args.alpha_batch_size))
        self._lambda.step(-step.learning_rate * step.gradients.inner_products(ahead))
        return self._lambda.values()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lambda": self._lambda.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._lambda.load_state_dict(state["lambda"])
