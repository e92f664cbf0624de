"""What happens when a round of forks has ended, and when a plan has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ..data import EpochPlan
from ..distributed.fsdp import is_sharded
from ..methods.delta_cosines import delta_cosines
from ..objectives.factory import RunObjectives
from ..setup.run_context import RunContext
from .finite import FiniteCheck
from .outcome import StepOutcome
from .state import RunState


class Merging:
    """
    Merges deltas, and writes the history's entry of every epoch.

    Args:
        context (`RunContext`): The run's settings.
        state (`RunState`): The run's state, which is changed here.
        finite (`FiniteCheck`): Finds merges that diverged.
    """

    def __init__(self, context: RunContext, state: RunState, finite: FiniteCheck) -> None:
        self.context = context
        self.state = state
        self.finite = finite

    def end_round(self, objectives: RunObjectives, progress: Callable[[int], None]) -> None:
        """
        Merges the deltas of a round, before the next phase.

        Args:
            objectives (`RunObjectives`): The losses and scores that the method may ask for.
            progress (`Callable[[int], None]`): Called with the number of every finished α step.

        Raises:
            DivergenceError: If the round left no finite model.
        """
        state = self.state
        self._require_a_phase()
        cosines = self._delta_cosines()
        self.finite.require_merged(state.method.merge_round(state.deltas, objectives, state.epoch, progress))
        state.delta_cosines = cosines
        state.deltas.close()

    def end_plan(self, objectives: RunObjectives, progress: Callable[[int], None], outcome: StepOutcome) -> None:
        """
        Merges the deltas of a plan and begins the next epoch.

        Args:
            objectives (`RunObjectives`): The losses and scores that the method may ask for.
            progress (`Callable[[int], None]`): Called with the number of every finished α step.
            outcome (`StepOutcome`): Receives logs and warnings.

        Raises:
            DivergenceError: If the epoch left no finite model.
        """
        state, method, plan = self.state, self.state.method, self.state.plan
        self._require_a_phase()
        weights_used = dict(method.task_weights)
        kept = plan.without(state.dropped)
        cosines = self._delta_cosines() if state.deltas.is_open else state.delta_cosines
        record = method.merge(state.deltas, objectives, state.epoch, progress)
        record = record.without_alpha(set(plan.forks) - set(kept.forks))
        if method.forks:
            self.finite.require_merged(record.merged_loss)
        weights = dict(method.task_weights)
        entry = {"task_weights": weights, "task_weights_used": weights_used, "dropped": state.dropped}
        entry |= {"delta_cosine": cosines} if cosines else {}
        # A method whose weights are known only when the epoch ends overrides those used.
        state.begin_epoch(entry | self._phases_run(plan, kept) | record.history_entry())
        if method.changes_weights:
            outcome.logs.append(record.logs(weights))
        if record.pruned:
            outcome.warn_of_pruned(record.pruned, plan, self.context.args)

    def _delta_cosines(self) -> dict[str, dict[str, float]]:
        deltas = self.state.deltas
        if len(deltas.phases) < 2 or not set(deltas.phases) <= set(self.state.method.tasks):  # forks of mixtures
            return {}
        gramians = deltas.gramians()
        if is_sharded(self.context.model):
            gramians = self.context.accelerator.reduce(gramians, reduction="sum")
        return delta_cosines(gramians, deltas.phases)

    def _phases_run(self, plan: EpochPlan, kept: EpochPlan) -> dict[str, Any]:
        steps = Counter[str]()
        for phase in plan.phases:
            steps[phase.name] += phase.num_steps
        return {
            "phase_steps": dict(steps),
            "target_steps_in_a_row": kept.steps_in_a_row(self.context.args.target_task),
            "trains_held_out": plan.trains_held_out,
        }

    def _require_a_phase(self) -> None:
        state = self.state
        if not (state.deltas.phases if state.deltas.is_open else state.plan.without(state.dropped).phases):
            raise self.finite.lost_epoch("every task's loss became NaN or infinite")
