"""A mixture of tasks that follows the target's slopes under probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .options import require
from .probing import ProbingMethod, ProbingOptions
from .weights import scaled_to_mean_one

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class ProbedMixtureOptions(ProbingOptions):
    """
    Options of [`ProbedMixture`].

    Args:
        weight_learning_rate (`float`, *optional*, defaults to 1.0):
            η of the mirror descent, above 0. With 1, an epoch changes the ratio of two tasks' shares by a factor of
            at most e². Our default.
    """

    weight_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive number")


class ProbedMixture(ProbingMethod):
    """
    p_t ← p_t · exp(−η s_t/ŝ) / Σ, where s_t = L_*(θ0 + δ_t) − L_*(θ0) is the slope of the target's loss under task t's
    probe. The joint phase draws tasks from the mixture p until the next probes.

    From DynaMiCS (Gualdoni et al., arXiv 2605.10770, of which we know the abstract) are short probes of each dataset,
    slopes of losses under them, and mixture weights on the simplex that stay until the next probes. It is not
    DynaMiCS, which looks for the mixture that improves target domains while the losses of constrained domains stay
    below reference levels. Here nothing is constrained, and only the target's slopes are measured. Ours: mirror
    descent; its start at the uniform mixture, or at `task_weights`; the unit ŝ, the largest |s_t| of the run so far,
    so that small slopes late in a run make small steps; and probes of equal length, so that dividing each slope by its
    probe's steps would change nothing.

    In the history, a task's weight is T·p_t, with mean 1. `task_sampling` and `weight_applies_to` have no effect.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "probed_mixture"
    sampling = "weights"
    weighs_steps = False
    mixes_by_sampling = False
    Options = ProbedMixtureOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        #: ŝ; 0 until a slope is measured.
        self.slope_unit = 0.0

    def probe_steps(self, steps: Mapping[str, int]) -> dict[str, int]:
        """Optimizer steps of every task's probe: equal parts of the probes' share of an epoch."""
        share = math.floor(self.options.probe_fraction * sum(steps.values()) / len(steps))
        return dict.fromkeys(steps, max(1, share))

    def measure(self, loss_with: Callable[..., float], start_loss: float, probed: list[str]) -> Mapping[str, float]:
        return {task: loss_with(task) - start_loss for task in probed}

    def update_weights(self, effects: Mapping[str, float], start_loss: float) -> None:
        self.slope_unit = max(self.slope_unit, *(abs(slope) for slope in effects.values()))
        rate = self.options.weight_learning_rate / (self.slope_unit or 1.0)
        masses = {task: weight * math.exp(-rate * effects[task]) for task, weight in self.task_weights.items()}
        self.task_weights = scaled_to_mean_one(masses)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "slope_unit": self.slope_unit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.slope_unit = state["slope_unit"]
