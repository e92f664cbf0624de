"""αVIL: α-Variable Importance Learning (Kourdis, Gordon-Hall, Gorinski; arXiv 2405.07769)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..data.plan import EpochPlan
from ..settings.presets import last_epochs
from .alpha import fit_alpha, mean_over_encoder
from .alpha_optimizers import make_alpha_optimizer
from .alpha_problem import AlphaProblem
from .alphavil_plan import alphavil_plan, not_forked
from .base import Method
from .choice import AuxiliaryChoice
from .contributions import Contributions, leave_one_out
from .deltas import DeltaBank
from .meta_rows import acceptance_rows, alpha_seed
from .objective import Objective, Objectives
from .pruning import Pruning
from .record import EpochRecord
from .weights import WeightRule

if TYPE_CHECKING:
    from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)


class AlphaVIL(Method):
    """
    αVIL: every task trains from the same θ0 and leaves δ_t; α minimises the target's held-out loss of θ0 + Σ α_t δ_t;
    then θ ← θ0 + Σ α_t δ_t and w_t ← w_t + (α_t − 1).

    Our reading of the paper: w and α start at 1, and the weight rule is additive. Ours: what [`WeightRule`] adds to
    it, pruning, the contributions of tasks, the choice of an epoch's auxiliaries ([`AuxiliaryChoice`]), and every plan
    other than one round of forks ([`alphavil_plan`]). The paper fits α by gradient steps on the target's loss and
    leaves other optimizers to future work.

    The weights change once per epoch. With several rounds, α_t is the mean over the rounds, and a contribution their
    sum. The α of a task without a fork stays at its start: the target's with `target_phase="last"`, and that of an
    auxiliary that was not chosen. An epoch without forks fits no α and changes no weight.

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
    weighs_steps = True
    mixes_by_sampling = True
    draws_meta_batches = True

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        most = args.max_auxiliaries_per_epoch
        #: The most auxiliaries of an epoch.
        self.num_chosen = len(self.auxiliaries) if most is None else min(most, len(self.auxiliaries))
        self.alpha_init = 1.0 / (1 + self.num_chosen) if args.alpha_init == "mean" else float(args.alpha_init)
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
        #: The meta rows on which α is fitted and accepted, if they differ.
        self.halves: tuple[list[int], list[int]] | None = None
        self.contributions = Contributions()
        self.choice = AuxiliaryChoice(most, args.resolved_data_seed)
        self.pruning = Pruning(args.prune_below, args.prune_patience, args.target_task)
        #: What the α steps of the running epoch found, JSON-serialisable.
        self._rounds: list[dict[str, Any]] = []
        if not_forked(args) and not self.auxiliaries:
            raise ValueError(
                f"target_phase={args.target_phase!r} needs an auxiliary task, because the target does not fork: add "
                "tasks, or pass target_phase='fork'"
            )

    def check(self, deltas: DeltaBank, objectives: Objectives) -> None:
        args = self.args
        if args.alpha_objective == "metric" and not objectives.meta.has_metric:
            raise ValueError(
                f"alpha_objective='metric', but no metric of the target {args.target_task!r} is known: pass `tasks`, "
                "or `compute_metrics` and the metric's name as `metric_for_best_model` (such as 'accuracy')"
            )
        if args.alpha_objective == "entropy":
            objectives.meta_entropy()  # raises if the target's predictions have no entropy
        if args.alpha_acceptance == "held_out":
            self.halves = objectives.meta_halves()
        num_forks = 1 + self.num_chosen - len(not_forked(args))
        unknowns, most = num_forks * len(deltas.groups), self.alpha_optimizer.max_unknowns
        if most is not None and unknowns > most:
            raise ValueError(
                f"alpha_optimizer={args.alpha_optimizer!r} fits at most {most} values of α, but {num_forks} "
                f"tasks × {len(deltas.groups)} groups of parameters have {unknowns}: pass alpha_granularity='task', "
                "fewer tasks, or an optimizer that follows gradients"
            )

    def check_loss(self, deltas: DeltaBank, objectives: Objectives) -> None:
        meta, num_forks = objectives.meta, 1 + self.num_chosen - len(not_forked(self.args))
        rows = list(range(meta.num_rows)) if self.halves is None else self.halves[0]
        self.alpha_optimizer.check(meta, rows, num_forks * len(deltas.groups))

    @property
    def num_last_epochs(self) -> int:
        """`int`: Epochs at the end of the run that train the target alone."""
        return last_epochs(self.args.final_target_epochs, self.num_epochs)

    @property
    def plan_settings(self) -> dict[str, Any]:
        # Only then do plans depend on the length of the run.
        ends_differently = self.args.final_target_epochs != 0 or not self.args.merge_deltas
        return {"num_epochs": self.num_epochs} if ends_differently else {}

    @property
    def follows_length(self) -> bool:
        return self.args.final_target_epochs is None and self.args.merge_deltas

    def begin(self, num_epochs: int) -> None:
        super().begin(num_epochs)
        args = self.args
        least = 1 if args.merge_deltas else 2
        if (left := num_epochs - self.num_last_epochs) < least:
            raise ValueError(
                f"final_target_epochs={self.num_last_epochs} and merge_deltas={args.merge_deltas} leave "
                f"{left} of the run's {num_epochs} epochs to αVIL, which needs "
                f"{least}: lower `final_target_epochs`, or raise `num_train_epochs` (or `max_steps`)"
            )
        self._warn_of_choices(left)

    def _warn_of_choices(self, num_epochs: int) -> None:
        most, count = self.args.max_auxiliaries_per_epoch, len(self.auxiliaries)
        if most is not None and count <= most:
            logger.warning("max_auxiliaries_per_epoch=%d has no effect on the run's %d auxiliaries.", most, count)
        elif most is not None and num_epochs * most < count:
            logger.warning(
                "The %d epochs that choose max_auxiliaries_per_epoch=%d of %d auxiliaries leave at least %d of them "
                "untried: raise either, or pass fewer auxiliaries.",
                num_epochs, most, count, count - num_epochs * most,
            )  # fmt: skip

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        absent = set(self.auxiliaries) - set(self._chosen(epoch))
        return alphavil_plan(self.args, epoch, self.num_epochs, steps, self.task_weights, absent)

    def _chosen(self, epoch: int) -> list[str]:
        """The auxiliaries that an epoch trains."""
        auxiliaries = [task for task in self.auxiliaries if task not in self.pruning.pruned]
        if self.choice.most is not None and self.args.weight_applies_to == "loss":
            auxiliaries = [task for task in auxiliaries if self.task_weights[task] > 0]  # others would not fork
        return self.choice.choose(auxiliaries, epoch)

    def merge_round(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> float | None:
        args = self.args
        problem = AlphaProblem(
            deltas,
            self._meta_objective(objectives),
            args.alpha_objective,
            self.alpha_init,
            args.alpha_l1,
            args.alpha_l2,
            *self.alpha_bounds,
            halves=self.halves,
        )
        seed = alpha_seed(args.resolved_data_seed, epoch, args.target_task, len(self._rounds))
        fit = fit_alpha(problem, self.alpha_optimizer, seed, progress)
        contributions = {}
        if self._measures_contributions:
            known = None if fit.gains is None else (fit.gains, fit.acceptance[1])
            gains, held_out_loss = known or leave_one_out(problem, fit.alpha)
            contributions = self.contributions.add(dict(zip(deltas.phases, gains, strict=True)), held_out_loss)
        if args.merge_deltas:
            problem.merge(fit.alpha)
        else:
            deltas.rewind()
        active = [task for task in self.tasks if task not in self.pruning.pruned]
        # The α of a task that left no δ stays at the start.
        fitted = dict(zip(deltas.phases, fit.alpha.tolist(), strict=True))
        by_group = {task: fitted.get(task, [self.alpha_init] * len(deltas.groups)) for task in active}
        details: dict[str, Any] = {
            f"acceptance_{args.alpha_objective}": list(fit.acceptance),
            "alpha_diverged": fit.diverged,
            **fit.details,
        }
        if args.alpha_granularity == "layer":
            details["alpha_by_layer"] = {
                task: dict(zip(deltas.groups, of_task, strict=True)) for task, of_task in by_group.items()
            }
        alpha = {task: mean_over_encoder(of_task, deltas.groups) for task, of_task in by_group.items()}
        self._rounds.append(
            {"alpha": alpha, "meta_values": fit.values, "contributions": contributions, "details": details}
        )
        has_loss = args.merge_deltas and args.alpha_objective != "metric"
        return fit.acceptance[0 if fit.diverged else 1] if has_loss else None

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        merged_loss = self.merge_round(deltas, objectives, epoch, progress) if deltas.is_open else None
        rounds, self._rounds = self._rounds, []
        chosen = self._chosen(epoch)
        if not rounds:
            return self._record_without_alpha(objectives, epoch, chosen)
        self.choice.observe(chosen, [of_round["contributions"].get("contribution", {}) for of_round in rounds])
        alpha = {task: fmean(of_round["alpha"][task] for of_round in rounds) for task in rounds[0]["alpha"]}
        leaving = self._update_weights(alpha, chosen)
        last = rounds[-1]
        by_round = [
            {"alpha": of_round["alpha"], **of_round["contributions"], **of_round["details"]} for of_round in rounds
        ]
        return EpochRecord(
            alpha=alpha,
            meta_values=last["meta_values"],
            objective=self.args.alpha_objective,
            merged_loss=merged_loss,
            pruned=leaving if self.args.prune_below is not None else None,
            contributions=self.contributions.end_epoch(),
            details=last["details"] | self._choice_entry(chosen) | ({"rounds": by_round} if len(rounds) > 1 else {}),
        )

    def _choice_entry(self, chosen: list[str]) -> dict[str, Any]:
        return {} if self.choice.most is None else {"chosen_auxiliaries": chosen}

    def _meta_objective(self, objectives: Objectives) -> Objective:
        return objectives.meta_entropy() if self.args.alpha_objective == "entropy" else objectives.meta

    @property
    def _measures_contributions(self) -> bool:
        return self.args.measure_contributions and self.args.alpha_objective != "entropy"  # which reads no labels

    def _record_without_alpha(self, objectives: Objectives, epoch: int, chosen: list[str]) -> EpochRecord:
        """The record of an epoch without forks."""
        args = self.args
        objective = self._meta_objective(objectives)
        loss = objective.loss(acceptance_rows(objective))
        trains_only_target = epoch >= self.num_epochs - self.num_last_epochs
        return EpochRecord(
            meta_values=[loss],
            objective="entropy" if args.alpha_objective == "entropy" else "loss",
            merged_loss=loss,
            pruned=[] if args.prune_below is not None else None,
            task_weights_used={t: float(t == args.target_task) for t in self.tasks} if trains_only_target else None,
            contributions=self.contributions.end_epoch(),
            details=self._choice_entry([] if trains_only_target else chosen),
        )

    def _update_weights(self, alpha: Mapping[str, float], chosen: Collection[str]) -> list[str]:
        """Sets the next epoch's weights from the unpruned tasks' α. Returns the tasks that leave the plan."""
        rule = self.weight_rule
        weights = rule.step({task: self.task_weights[task] for task in alpha}, alpha, self.alpha_init)
        trained = (self.args.target_task, *chosen)
        leaving = self.pruning.observe({task: weight for task, weight in weights.items() if task in trained})
        weights = rule.normalized({task: weight for task, weight in weights.items() if task not in leaving})
        self.task_weights = {task: weights.get(task, 0.0) for task in self.tasks}
        return leaving

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "choice": self.choice.state_dict(),
            "contributions": self.contributions.state_dict(),
            "pruning": self.pruning.state_dict(),
            "rounds": list(self._rounds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        if "choice" in state:  # not in a checkpoint of an earlier version, which chose all
            self.choice.load_state_dict(state["choice"])
        self.contributions.load_state_dict(state["contributions"])
        self.pruning.load_state_dict(state["pruning"])
        self._rounds = list(state["rounds"])
