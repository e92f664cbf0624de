"""ForkMerge: branches that mix in ever more auxiliaries, merged by the target's score (arXiv 2301.12618)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..data.plan import EpochPlan, Phase
from ..data.sampling import allocate_steps, mixed_order
from ..data.seeding import derive_seed
from .base import Method
from .deltas import DeltaBank
from .greedy_merge import merge_greedily
from .meta_rows import acceptance_rows
from .objective import Objectives
from .options import require
from .record import EpochRecord
from .stages import stage_schedule_range

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class ForkMergeOptions:
    """
    Options of [`ForkMerge`].

    Args:
        branches (`tuple[int, ...]`, *optional*, defaults to `(0, 3, 5)`):
            Number of best auxiliaries that each branch trains on, in addition to the target. A number that is too
            large means all auxiliaries. Equal branches are trained once.
    """

    branches: tuple[int, ...] = (0, 3, 5)

    def __post_init__(self) -> None:
        valid = len(self.branches) > 0 and all(type(number) is int and number >= 0 for number in self.branches)
        require("branches", self.branches, valid, "numbers of auxiliaries, 0 or more, such as [0, 3, 5]")


class ForkMerge(Method):
    """
    ForkMerge (arXiv 2301.12618): branches train from the same θ on the target and its k best auxiliaries, and are
    merged greedily by the target's score on the meta set.

    The first epoch ranks the auxiliaries: one fork per auxiliary trains on it and the target, 1:1, and is scored; then
    θ is restored. In each later epoch, branch k trains from the last merge on the target with weight 1 and each of the
    k best auxiliaries with weight 1/k. [`merge_greedily`] then merges the branches.

    Ours:

    - Weights are shares of a branch's steps, each of which is of one task: half are the target's, and the k
      auxiliaries share the other half equally.
    - A round is an epoch. The forks divide its N = Σ K_t steps, so it costs as much as in multitask training.
    - A branch is scored at its end, not at its best checkpoint, on at most the first 512 meta rows.
    - The ranking passes through the whole learning-rate schedule, as a separate run would, and so do the epochs after
      it.
    - A branch that diverges is left out. An auxiliary whose fork diverges ranks last.

    In the history, a task's weight is T times its share of the merged steps, Σ λ_b share_b(t)/Σ λ_b.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "forkmerge"
    forks = True
    separates_phases = True
    needs_meta_set = True
    measures_scores = True
    meta_use = "auxiliaries were ranked and branches merged by scores"
    min_auxiliaries = 2
    min_epochs = 2
    Options = ForkMergeOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        #: The auxiliaries, best first; empty until they are ranked.
        self.ranking: tuple[str, ...] = ()

    @property
    def branches(self) -> list[int]:
        """`list[int]`: Number of auxiliaries of every branch, ascending."""
        return sorted({min(number, len(self.auxiliaries)) for number in self.options.branches})

    @property
    def plan_settings(self) -> dict[str, Any]:
        return {"num_epochs": self.num_epochs, "branches": self.branches}

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        forks = self._forks(epoch)
        num_steps = sum(steps.values())
        first, num_stage_epochs = (0, 1) if epoch == 0 else (1, self.num_epochs - 1)
        schedule_range = stage_schedule_range(epoch, first, num_stage_epochs, self.num_epochs)
        even = dict.fromkeys(forks, Fraction(1, len(forks)))
        phases = []
        for name, count in allocate_steps(num_steps, even).items():
            seed = derive_seed(self.args.resolved_data_seed, epoch, name)
            order = mixed_order(allocate_steps(count, self._shares(forks[name])), seed)
            phases.append(
                Phase(
                    name,
                    tuple((task,) for task in order),
                    fork=True,
                    schedule_range=schedule_range,
                    is_last=epoch == 0,
                    is_probe=epoch == 0,
                )
            )
        return EpochPlan(epoch, tuple(phases), num_steps)

    def gives_buffers(self, phase: Phase) -> bool:
        return phase.name in (_ranking_fork(self.auxiliaries[0]), _branch(self.branches[0]))

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        meta = objectives.meta
        rows = acceptance_rows(meta)

        def score_of(coefficients: Mapping[str, float]) -> float:
            deltas.combine(deltas.coefficients(coefficients))
            score = meta.score(rows)
            return score if math.isfinite(score) else -math.inf

        forks = [name for name in self._forks(epoch) if name in deltas.phases]
        scores = {name: score_of({name: 1.0}) for name in forks}
        if epoch == 0:
            by_task = {task: scores.get(_ranking_fork(task), -math.inf) for task in self.auxiliaries}
            # sorted() is stable: ties go to the task that comes first.
            self.ranking = tuple(sorted(self.auxiliaries, key=lambda task: -by_task[task]))
            deltas.rewind()
            return EpochRecord(details={"ranking_scores": by_task, "ranking": list(self.ranking)})
        merged = merge_greedily(scores, score_of)
        deltas.combine(deltas.coefficients(merged.shares))
        branches = self._forks(epoch)
        self.task_weights = {
            task: len(self.tasks)
            * math.fsum(share * self._shares(branches[name]).get(task, 0) for name, share in merged.shares.items())
            for task in self.tasks
        }
        return EpochRecord(
            task_weights_used=dict(self.task_weights),
            merged_loss=None if meta.has_metric else -merged.score,
            details={"branch_scores": scores, "merge_coefficients": merged.coefficients, "score": merged.score},
        )

    def _forks(self, epoch: int) -> dict[str, tuple[str, ...]]:
        """Auxiliaries of an epoch's forks, by the fork's name."""
        if epoch == 0:
            return {_ranking_fork(task): (task,) for task in self.auxiliaries}
        return {_branch(number): self.ranking[:number] for number in self.branches}

    def _shares(self, auxiliaries: Sequence[str]) -> dict[str, Fraction]:
        """Shares of a fork's steps by task: half for the target, half for all auxiliaries together."""
        if not auxiliaries:
            return {self.args.target_task: Fraction(1)}
        return {self.args.target_task: Fraction(1, 2)} | dict.fromkeys(auxiliaries, Fraction(1, 2 * len(auxiliaries)))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ranking": list(self.ranking)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.ranking = tuple(state["ranking"])


# These names cannot collide with task names, which have no parentheses.
def _ranking_fork(task: str) -> str:
    return f"(with {task})"


def _branch(number: int) -> str:
    return f"(branch {number})"
