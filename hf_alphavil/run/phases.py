"""What happens when a phase begins and when it ends."""

from __future__ import annotations

from accelerate.utils import gather_object
from transformers import set_seed

from ..data import Phase
from ..data.seeding import derive_seed
from ..setup.run_context import RunContext
from .finite import FiniteCheck
from .outcome import StepOutcome
from .phase_losses import PhaseLosses
from .state import RunState


class PhaseBoundaries:
    """
    Forks, optimizer states and deltas at the boundaries of phases.

    Args:
        context (`RunContext`): The run's settings.
        state (`RunState`): The run's state, which is changed here.
        finite (`FiniteCheck`): Finds phases that diverged.
    """

    def __init__(self, context: RunContext, state: RunState, finite: FiniteCheck) -> None:
        self.context = context
        self.state = state
        self.finite = finite

    def begin(self, phase: Phase) -> None:
        """
        Goes back to θ0, switches the optimizer's state and seeds every generator.

        Args:
            phase (`Phase`): The phase that is about to take its first step.
        """
        state = self.state
        if state.deltas.is_open:
            state.deltas.rewind()
        elif state.method.forks:
            # Also before a joint phase: checkpoints hold its start as their model, and a diverged one returns to it.
            state.deltas.open(state.plan.forks)
        if state.optimizer_states is not None:
            state.optimizer_states.begin_phase(phase.name)
        kind = "fork" if phase.fork else "joint"
        number = [phase.round] if phase.round else []
        set_seed(derive_seed(self.context.args.seed, state.epoch, phase.name, kind, *number))

    def end(self, phase: Phase, outcome: StepOutcome) -> None:
        """
        Records the delta of a fork, or undoes a phase that diverged.

        Args:
            phase (`Phase`): The phase, whose last step has been taken.
            outcome (`StepOutcome`): Receives the phase's losses, and whether it diverged, with a warning.

        Raises:
            DivergenceError: If the only model of a method without forks became NaN or infinite.
        """
        state, forks = self.state, self.state.method.forks
        means, first_bad = state.losses.reduce(state.groups.gather)
        state.losses = PhaseLosses()
        state.phase_losses[phase.name] = means
        if not state.groups.is_parallel:
            outcome.log_phase(means)
        if forks:
            state.synchronise_buffers()
        else:
            self.finite.require(first_bad)
        failed = self.finite.failure(first_bad) if forks else None
        if state.optimizer_states is not None:
            is_followed = state.step < state.lane.num_steps
            state.optimizer_states.end_phase(phase.name, failed is not None, phase.is_last, is_followed)
        if failed is not None:
            state.deltas.rewind()
            state.dropped[state.plan.label(phase)] = failed.step
            outcome.diverged = True
            if state.groups.is_leader:
                outcome.warnings.append(self.finite.dropped_phase(phase, failed))
        elif phase.fork:
            state.deltas.record(phase.name, keep_buffers=state.method.gives_buffers(phase))
        if forks and not phase.fork:
            state.deltas.close()

    def exchange(self, outcome: StepOutcome) -> None:
        """
        Gives every process the losses, failures and deltas of all processes' phases.

        Args:
            outcome (`StepOutcome`): Receives the losses of all phases.
        """
        state = self.state
        everywhere = gather_object([(state.phase_losses, state.dropped)])
        state.phase_losses = {phase: means for losses, _ in everywhere for phase, means in losses.items()}
        state.dropped = {phase: step for _, dropped in everywhere for phase, step in dropped.items()}
        if not state.deltas.is_open:  # on a process that has run no phase
            state.deltas.open(state.plan.forks)
        for phase in state.plan.phases:
            outcome.log_phase(state.phase_losses[phase.name])
            if state.plan.label(phase) not in state.dropped:
                keep_buffers = state.method.gives_buffers(phase)
                state.deltas.share(phase.name, state.groups.leader_of(phase.name), keep_buffers)
