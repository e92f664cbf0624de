"""DIW: discriminative importance weights, measured by probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .options import require
from .probing import ProbingMethod, ProbingOptions
from .weights import scaled_to_mean_one

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class DIWOptions(ProbingOptions):
    """
    Options of [`DIW`].

    Args:
        weight_learning_rate (`float`, *optional*, defaults to 10.0):
            λ, the change of a weight per unit of a task's effect, where the unit is the run's first meta loss; above
            0. Our default: on seeds 1 to 3 of the demo suite it finds the order of the tasks, and values from 5 to 20
            score alike.
    """

    weight_learning_rate: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive number")


class DIW(ProbingMethod):
    """
    DIW: w_t ← max(0, w_t − λ·(L_*(θ0 + δ_* + δ_t) − L_*(θ0 + δ_*))/L̂) for every auxiliary t; the target's weight does
    not change; then all weights are scaled to mean 1.

    Discriminative importance weights (Sivasankaran, Vincent and Illina, ICASSP 2017) are the strongest baseline of the
    αVIL paper (arXiv 2405.07769). We do not know its exact rule; this one is our reading. Two more choices are ours.
    Probes start from the end of a joint phase, in which w scales the learning rate or the loss or, with
    `task_sampling="weights"`, is the mixture. The unit L̂ is the run's first meta loss L_*(θ0), so that one λ fits any
    loss scale. Without δ_*, the first epoch would measure a target head that has hardly been trained.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "diw"
    Options = DIWOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        #: L̂; 0 until it is measured.
        self.loss_unit = 0.0

    def measure(self, loss_with: Callable[..., float], start_loss: float, probed: list[str]) -> Mapping[str, float]:
        target = self.args.target_task
        with_target = loss_with(target)
        return {task: loss_with(target, task) - with_target for task in self.auxiliaries if task in probed}

    def update_weights(self, effects: Mapping[str, float], start_loss: float) -> None:
        if self.loss_unit == 0 and math.isfinite(start_loss):
            self.loss_unit = start_loss
        rate = self.options.weight_learning_rate / (self.loss_unit or 1.0)
        moved = dict(self.task_weights)
        for task in self.auxiliaries:
            moved[task] = max(0.0, moved[task] - rate * effects[task])
        self.task_weights = scaled_to_mean_one(moved)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "loss_unit": self.loss_unit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.loss_unit = state["loss_unit"]
