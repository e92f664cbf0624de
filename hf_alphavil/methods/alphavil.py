"""αVIL: α-Variable Importance Learning (Kourdis, Gordon-Hall, Gorinski; arXiv 2405.07769)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.plan import EpochPlan, Phase
from .alpha import fit_alpha, mean_over_encoder
from .alpha_optimizers import make_alpha_optimizer
from .alpha_problem import AlphaProblem
from .base import Method
from .contributions import Contributions, leave_one_out
from .deltas import DeltaBank
from .joint import joint_phase
from .meta_rows import acceptance_rows, alpha_seed
from .objective import Objectives
from .pruning import Pruning
from .record import EpochRecord
from .weights import WeightRule

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


class AlphaVIL(Method):
    """
    αVIL: every task trains from the same θ0 and leaves δ_t; α minimises the target's held-out loss of θ0 + Σ α_t δ_t;
    then θ ← θ0 + Σ α_t δ_t and w_t ← w_t + (α_t − 1).

    Our reading of the paper: w and α start at 1, and the weight rule is additive. Ours: what [`WeightRule`] adds to
    it, a joint phase before the forks, pruning, and the contributions of tasks. The paper fits α by gradient steps on
    the target's loss and leaves other optimizers to future work.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "alphavil"
    forks = True
    forks_by_task = True
    separates_phases = True
    needs_meta_set = True
    meta_use = "α was fitted"
    fits_alpha = True
    starts_from_task_weights = True

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self.alpha_init = 1.0 / len(self.tasks) if args.alpha_init == "mean" else float(args.alpha_init)
        low, high = args.alpha_min, args.alpha_max
        self.alpha_bounds = -math.inf if low is None else low, math.inf if high is None else high
        if not self.alpha_bounds[0] <= self.alpha_init <= self.alpha_bounds[1]:
            raise ValueError(
                f"alpha_min={low} and alpha_max={high} leave out the start of α, {self.alpha_init:g}: pass bounds "
                "around it, or another alpha_init"
            )
        self.alpha_optimizer = make_alpha_optimizer(args)
        self.weight_rule = WeightRule(
            target=args.target_task,
            minimum=args.min_task_weight,
            maximum=args.max_task_weight,
            normalization=args.resolved_normalize_task_weights,
            average=args.weight_average,
            target_minimum=args.min_target_weight,
            max_change=args.max_weight_change,
        )
        for task, weight in self.task_weights.items():
            low, high = self.weight_rule.bounds(task)
            if not low <= weight <= high:
                raise ValueError(
                    f"task_weights: {task!r} starts at {weight}, outside its bounds: pass a weight from {low} to "
                    f"{high}, or other min_task_weight, min_target_weight or max_task_weight"
                )
        self.task_weights = self.weight_rule.normalized(self.task_weights)
        self.contributions = Contributions()
        self.pruning = Pruning(args.prune_below, args.prune_patience, args.target_task)

    def check(self, deltas: DeltaBank, objectives: Objectives) -> None:
        args = self.args
        if args.alpha_objective == "metric" and not objectives.meta.has_metric:
            raise ValueError(
                f"alpha_objective='metric', but no metric of the target {args.target_task!r} is known: pass `tasks`, "
                "or `compute_metrics` and the metric's name as `metric_for_best_model` (such as 'accuracy')"
            )
        if args.alpha_objective == "entropy":
            objectives.meta_entropy()  # raises if the target's predictions have no entropy
        unknowns, most = len(self.tasks) * len(deltas.groups), self.alpha_optimizer.max_unknowns
        if most is not None and unknowns > most:
            raise ValueError(
                f"alpha_optimizer={args.alpha_optimizer!r} fits at most {most} values of α, but {len(self.tasks)} "
                f"tasks × {len(deltas.groups)} groups of parameters have {unknowns}: pass alpha_granularity='task', "
                "fewer tasks, or an optimizer that follows gradients"
            )

    def check_loss(self, deltas: DeltaBank, objectives: Objectives) -> None:
        meta, unknowns = objectives.meta, len(self.tasks) * len(deltas.groups)
        self.alpha_optimizer.check(meta, acceptance_rows(meta), unknowns)

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        fraction = self.args.joint_fraction
        fork_steps = {task: max(1, round((1.0 - fraction) * count)) for task, count in steps.items()}
        nominal_joint_steps = round(fraction * sum(steps.values()))
        nominal_steps = nominal_joint_steps + sum(fork_steps.values())
        boundary = nominal_joint_steps / nominal_steps
        mixed = {task: count for task, count in steps.items() if task not in self.pruning.pruned}
        joint_steps = round(fraction * sum(mixed.values()))
        phases = []
        if joint_steps > 0:
            phases.append(joint_phase(self.args, epoch, joint_steps, mixed, self.task_weights, (0.0, boundary)))
        phases += [
            Phase(task, ((task,),) * fork_steps[task], fork=True, weighted=True, schedule_range=(boundary, 1.0))
            for task in mixed
            if not self._is_skipped(task)
        ]
        if not any(phase.fork for phase in phases):
            raise ValueError("every task has weight 0, so nothing is left to train: raise `min_task_weight` above 0")
        return EpochPlan(epoch, tuple(phases), nominal_steps)

    def _is_skipped(self, task: str) -> bool:
        # With a loss of weight 0, only stale momentum would move the parameters. Skipping the phase makes δ 0.
        return self.args.weight_applies_to == "loss" and self.task_weights[task] == 0

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        args = self.args
        problem = AlphaProblem(
            deltas,
            objectives.meta_entropy() if args.alpha_objective == "entropy" else objectives.meta,
            args.alpha_objective,
            self.alpha_init,
            args.alpha_l1,
            args.alpha_l2,
            *self.alpha_bounds,
        )
        seed = alpha_seed(args.resolved_data_seed, epoch, args.target_task)
        fit = fit_alpha(problem, self.alpha_optimizer, seed, progress)
        contributions = {}
        if args.measure_contributions and args.alpha_objective != "entropy":  # which reads no labels
            known = None if fit.gains is None else (fit.gains, fit.acceptance[1])
            gains, held_out_loss = known or leave_one_out(problem, fit.alpha)
            contributions = self.contributions.add(dict(zip(deltas.phases, gains, strict=True)), held_out_loss)
        problem.merge(fit.alpha)
        active = [task for task in self.tasks if task not in self.pruning.pruned]
        # The α of a task that left no δ stays at the start.
        fitted = dict(zip(deltas.phases, fit.alpha.tolist(), strict=True))
        by_group = {task: fitted.get(task, [self.alpha_init] * len(deltas.groups)) for task in active}
        alpha = {task: mean_over_encoder(of_task, deltas.groups) for task, of_task in by_group.items()}
        leaving = self._update_weights(alpha)
        details: dict[str, Any] = {
            f"acceptance_{args.alpha_objective}": list(fit.acceptance),
            "alpha_diverged": fit.diverged,
            **fit.details,
        }
        if args.alpha_granularity == "layer":
            details["alpha_by_layer"] = {
                task: dict(zip(deltas.groups, of_task, strict=True)) for task, of_task in by_group.items()
            }
        return EpochRecord(
            alpha=alpha,
            meta_values=fit.values,
            objective=args.alpha_objective,
            merged_loss=None if args.alpha_objective == "metric" else fit.acceptance[0 if fit.diverged else 1],
            pruned=leaving if args.prune_below is not None else None,
            contributions=contributions,
            details=details,
        )

    def _update_weights(self, alpha: Mapping[str, float]) -> list[str]:
        """Sets the next epoch's weights from the unpruned tasks' α. Returns the tasks that leave the plan."""
        rule = self.weight_rule
        weights = rule.step({task: self.task_weights[task] for task in alpha}, alpha, self.alpha_init)
        leaving = self.pruning.observe(weights)
        weights = rule.normalized({task: weight for task, weight in weights.items() if task not in leaving})
        self.task_weights = {task: weights.get(task, 0.0) for task in self.tasks}
        return leaving

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "contributions": self.contributions.state_dict(),
            "pruning": self.pruning.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        self.contributions.load_state_dict(state["contributions"])
        self.pruning.load_state_dict(state["pruning"])
