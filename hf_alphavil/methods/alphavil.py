"""αVIL: α-Variable Importance Learning (Kourdis, Gordon-Hall, Gorinski; arXiv 2405.07769)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.plan import EpochPlan, Phase
from .alpha import AlphaSettings, alpha_seed, fit_alpha
from .base import Method, Objectives
from .deltas import DeltaBank
from .joint import joint_phase
from .weights import WeightRule

if TYPE_CHECKING:
    from ..training_args import MultitaskTrainingArguments


class AlphaVIL(Method):
    """
    αVIL: every task trains from the same θ0 and leaves δ_t; α minimises the target's held-out loss of θ0 + Σ α_t δ_t;
    then θ ← θ0 + Σ α_t δ_t and w_t ← w_t + (α_t − 1).

    The start of w and α at 1 and the additive weight rule are our reading of the paper; bounds and normalisation of
    the weights, and a joint phase before the forks, are ours.

    Args:
        args (`MultitaskTrainingArguments`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "alphavil"
    forks = True
    forks_by_task = True
    separates_phases = True
    needs_meta_set = True
    meta_use = "α was fitted"
    fits_alpha = True

    def __init__(self, args: MultitaskTrainingArguments, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self.alpha_init = 1.0 / len(self.tasks) if args.alpha_init == "mean" else float(args.alpha_init)
        self.gradient_scale = 0.0

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        fraction = self.args.joint_fraction
        joint_steps = round(fraction * sum(steps.values()))
        fork_steps = {task: max(1, round((1.0 - fraction) * count)) for task, count in steps.items()}
        nominal_steps = joint_steps + sum(fork_steps.values())
        boundary = joint_steps / nominal_steps
        phases = []
        if joint_steps > 0:
            phases.append(joint_phase(self.args, epoch, joint_steps, steps, self.task_weights, (0.0, boundary)))
        phases += [
            Phase(task, ((task,),) * count, fork=True, weighted=True, stretch=(boundary, 1.0))
            for task, count in fork_steps.items()
            if not self._is_skipped(task)
        ]
        if not any(phase.fork for phase in phases):
            raise ValueError("every task has weight 0, so nothing is left to train: raise `min_task_weight` above 0")
        return EpochPlan(epoch, tuple(phases), nominal_steps)

    def _is_skipped(self, task: str) -> bool:
        # With a loss of weight 0, stale momentum alone would move the parameters: δ is 0 by not running the phase.
        return self.args.weight_applies_to == "loss" and self.task_weights[task] == 0

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> dict[str, Any]:
        args = self.args
        settings = AlphaSettings(
            steps=args.alpha_steps,
            learning_rate=args.alpha_learning_rate,
            optimizer=args.alpha_optimizer,
            initial=self.alpha_init,
            batch_size=args.alpha_batch_size,
            seed=alpha_seed(args.resolved_data_seed, epoch, args.target_task),
        )
        fit = fit_alpha(deltas, objectives.meta, self.tasks, settings, self.gradient_scale, progress)
        self.gradient_scale = fit.gradient_scale
        deltas.combine(fit.alpha)
        rule = WeightRule(args.min_task_weight, args.max_task_weight, bool(args.normalize_task_weights))
        self.task_weights = rule.update(self.task_weights, fit.alpha, self.alpha_init)
        return {
            "alpha": fit.alpha,
            "meta_loss": fit.meta_loss,
            "judged_loss": list(fit.judged_loss),
            "alpha_diverged": fit.diverged,
        }

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "gradient_scale": self.gradient_scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.gradient_scale = state["gradient_scale"]
