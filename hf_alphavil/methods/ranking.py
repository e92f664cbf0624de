"""Probes of candidate auxiliaries: how much a few steps of each would add to a few steps of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..data.plan import TARGET_PHASE, EpochPlan, Phase
from .alpha_problem import AlphaProblem
from .base import Method
from .contributions import Contributions, losses_of_merges
from .deltas import DeltaBank
from .objective import Objectives
from .record import EpochRecord

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


class Probes(Method):
    """
    Measures tasks instead of training them. It is no choice of the setting `method`: see [`rank_auxiliaries`].

    An epoch is a round of probes. The target trains `target_steps` steps, which end at θ0. From there, every task
    trains `probe_steps` steps, each at the same learning rate with an optimizer that starts without state, and leaves
    δ_t. The effect of auxiliary t is

        L_*(θ0 + δ_*) − L_*(θ0 + δ_* + δ_t),

    the target's loss by held-out row, above 0 if the auxiliary's steps help beside the target's own. The effect of the
    target is L_*(θ0) − L_*(θ0 + δ_*). Nothing is merged; the next round goes on from θ0. The rule is ours; that probes
    start from θ0 and are undone is as in [`ProbingMethod`].

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
        target_steps (`int`): Steps of the target before every round of probes, so that its head is not random.
        probe_steps (`int`): Steps of every probe.
    """

    name = "probes"
    forks = True
    separates_phases = True
    needs_meta_set = True
    changes_weights = False
    min_auxiliaries = 1

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str], target_steps: int, probe_steps: int) -> None:
        super().__init__(args, tasks)
        self.target_steps = target_steps
        self.probe_steps = probe_steps
        self.contributions = Contributions()

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        first = Phase(TARGET_PHASE, ((self.args.target_task,),) * self.target_steps)
        probes = [Phase(task, ((task,),) * self.probe_steps, fork=True, is_probe=True) for task in self.tasks]
        return EpochPlan(epoch, (first, *probes), self.target_steps + self.probe_steps * len(self.tasks))

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        target = self.args.target_task
        if target not in deltas.phases:
            raise ValueError(f"the probe of the target {target!r} diverged: lower learning_rate or probe_steps")
        problem = AlphaProblem(deltas, objectives.meta)

        auxiliaries = [task for task in deltas.phases if task != target]
        merges = [(), (target,), *((target, task) for task in auxiliaries)]
        start, reference, *losses = losses_of_merges(
            problem, (deltas.coefficients(dict.fromkeys(probes, 1.0)) for probes in merges)
        )
        deltas.rewind()
        effects = {target: start - reference} | {
            task: reference - of_rows for task, of_rows in zip(auxiliaries, losses, strict=True)
        }
        self.contributions.add(effects, float(reference.mean()))
        return EpochRecord(
            meta_values=[float(start.mean()), float(reference.mean())],
            merged_loss=float(start.mean()),
            contributions=self.contributions.end_epoch(),
        )
