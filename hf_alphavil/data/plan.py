"""An epoch is a plan of phases. A phase says what is trained, for how many optimizer steps, from which parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

#: Name of the phase that mixes tasks. It cannot collide with a task name, which has no parentheses.
JOINT_PHASE = "(joint)"
#: Name of a phase of the target that follows a merge, or stands alone, and leaves no delta.
TARGET_PHASE = "(target)"


@dataclass(frozen=True)
class Phase:
    """
    A sequence of optimizer steps that belong together.

    Args:
        name (`str`): Name, unique within the round. It is also the key of the phase's delta and optimizer state.
        step_tasks (`tuple[tuple[str, ...], ...]`):
            The tasks of every optimizer step of the phase, in order: one task, or the tasks of a multi-task step,
            which has a batch of each.
        fork (`bool`, *optional*, defaults to `False`):
            Whether the phase starts from θ0 and leaves a delta (αVIL, ForkMerge), or continues where the previous
            phase ended (joint training, STILTs).
        weighted (`bool`, *optional*, defaults to `False`):
            Whether the task weight w_t applies to the phase's steps.
        schedule_range (`tuple[float, float]`, *optional*, defaults to `(0.0, 1.0)`):
            The part of the epoch's learning-rate schedule that the phase runs through. All forks of an epoch share it,
            so that a delta does not depend on the order of the tasks. It may reach outside [0, 1]: a stage of a few
            epochs may run through the schedule of the whole run.
        is_last (`bool`, *optional*, defaults to `False`):
            Whether no later phase of the run has this name. The phase's optimizer state is then freed when it ends.
        is_probe (`bool`, *optional*, defaults to `False`):
            Whether the fork's delta is only measured: after the plan, θ is θ0 again.
        round (`int`, *optional*, defaults to 0):
            Forks of one round start from the same θ0. They are merged before a phase of a later round begins, or when
            the plan ends.
    """

    name: str
    step_tasks: tuple[tuple[str, ...], ...]
    fork: bool = False
    weighted: bool = False
    schedule_range: tuple[float, float] = (0.0, 1.0)
    is_last: bool = False
    is_probe: bool = False
    round: int = 0

    @property
    def num_steps(self) -> int:
        """`int`: Optimizer steps of the phase."""
        return len(self.step_tasks)


@dataclass(frozen=True)
class EpochPlan:
    """
    The phases of one epoch, in order. A plan is a pure function of method, task weights, seed and epoch.

    Args:
        epoch (`int`): The epoch, from 0.
        phases (`tuple[Phase, ...]`): The phases, each with at least one step.
        nominal_steps (`int`):
            Optimizer steps of the longest plan of the run, N. A plan may be shorter, for example without a task of
            weight 0. Learning rates always use the nominal scale.
        trains_held_out (`bool`, *optional*, defaults to `False`):
            Whether the target's rows include those that are held out in other epochs, if there are any.
    """

    epoch: int
    phases: tuple[Phase, ...]
    nominal_steps: int
    trains_held_out: bool = False

    @property
    def num_steps(self) -> int:
        """`int`: Optimizer steps of this plan."""
        return sum(phase.num_steps for phase in self.phases)

    @property
    def forks(self) -> list[str]:
        """`list[str]`: Names of the phases that start from θ0 and leave a delta."""
        return list(dict.fromkeys(phase.name for phase in self.phases if phase.fork))

    def steps_in_a_row(self, task: str) -> int:
        """
        Number of a task's steps that build on one another, from the parameters before the plan to those after it.

        Forks of one round run side by side, so the one with the most steps of the task counts. Probes do not count.

        Args:
            task (`str`): The task.
        """
        in_a_row, in_forks = 0, dict[int, int]()
        for phase in self.phases:
            count = sum(task in tasks for tasks in phase.step_tasks)
            if not phase.fork:
                in_a_row += count
            elif not phase.is_probe:
                in_forks[phase.round] = max(in_forks.get(phase.round, 0), count)
        return in_a_row + sum(in_forks.values())

    def locate(self, step: int) -> tuple[Phase, int]:
        """
        Finds the phase of an optimizer step.

        Args:
            step (`int`): Optimizer step within the plan, from 0.

        Returns:
            `tuple[Phase, int]`: The phase and the step within it, from 0.

        Raises:
            IndexError: If the plan does not have this step.
        """
        if step >= 0:
            ends = accumulate(phase.num_steps for phase in self.phases)
            for phase, end in zip(self.phases, ends, strict=True):
                if step < end:
                    return phase, step - (end - phase.num_steps)
        raise IndexError(f"step {step} is outside the plan of epoch {self.epoch}, which has {self.num_steps} steps")

    def only(self, names: Collection[str]) -> EpochPlan:
        """
        The plan restricted to some of its phases. Learning rates stay those of the whole plan.

        Args:
            names (`Collection[str]`): Names of the phases to keep.
        """
        return replace(self, phases=tuple(phase for phase in self.phases if phase.name in names))

    def label(self, phase: Phase) -> str:
        """`str`: A phase's name, followed by its round if the plan has several phases of that name."""
        is_only = sum(other.name == phase.name for other in self.phases) == 1
        # A phase after a merge has the number of the next round's forks.
        return phase.name if is_only else f"{phase.name} (round {phase.round + phase.fork})"

    def without(self, labels: Collection[str]) -> EpochPlan:
        """
        The plan without some of its phases.

        Args:
            labels (`Collection[str]`): What [`label`] calls the phases to leave out.
        """
        return replace(self, phases=tuple(phase for phase in self.phases if self.label(phase) not in labels))

    def schedule_position(self, step: int) -> float:
        """
        Position of an optimizer step on the learning-rate schedule.

        All forks of an epoch run through the same range: step i of a phase of K steps is at N·(e + a + (b − a)·i/K),
        where e is the epoch and [a, b] is the phase's `schedule_range`. This is our reading; the paper does not say.

        Args:
            step (`int`): Optimizer step within the plan, from 0.

        Returns:
            `float`: Position in optimizer steps. The schedule spans `epochs · nominal_steps`.
        """
        phase, step_in_phase = self.locate(step)
        start, end = phase.schedule_range
        within_epoch = start + (end - start) * step_in_phase / phase.num_steps
        return self.nominal_steps * (self.epoch + within_epoch)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """Yields the tasks of every optimizer step."""
        for phase in self.phases:
            yield from phase.step_tasks
