"""The plan of αVIL's epochs: a joint phase, rounds of forks, and phases of the target alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..data.plan import TARGET_PHASE, EpochPlan, Phase
from ..data.sampling import allocate_within, sampling_shares
from ..settings.presets import last_epochs
from .joint import joint_phase
from .stages import stage_schedule_range

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


def not_forked(args: MultitaskSettings) -> set[str]:
    """`set[str]`: Tasks that never fork: with `target_phase="last"`, the target."""
    return {args.target_task} if args.target_phase == "last" else set()


def own_steps(args: MultitaskSettings, steps: Mapping[str, int]) -> dict[str, int]:
    """
    Steps of every task's own phases in an epoch: those that the joint phase leaves, shared as `phase_lengths` says.

    Pruning does not change them. Every task has at least one step, and at most its share of `max_phase_steps`.

    Args:
        args (`MultitaskSettings`): The settings.
        steps (`Mapping[str, int]`): K_t, the steps in which every task sees its sampled rows once.
    """

    def left(count: int) -> int:
        return max(1, round((1.0 - args.joint_fraction) * count))

    proportional = {task: left(count) for task, count in steps.items()}
    if args.phase_lengths == "proportional":
        return proportional
    sampling = "uniform" if args.phase_lengths == "equal" else args.phase_lengths
    shares = sampling_shares(sampling, steps, {}, args.sampling_temperature)
    most = None if args.max_phase_steps is None else left(args.max_phase_steps)
    return allocate_within(sum(proportional.values()), shares, most)


def longest_sum(args: MultitaskSettings, steps: Mapping[str, int]) -> int:
    """
    The most steps that the tasks of one epoch may take: the target's, and those of all auxiliaries, or of as many of
    the longest ones as an epoch may have.

    Args:
        args (`MultitaskSettings`): The settings.
        steps (`Mapping[str, int]`): Steps by task.
    """
    of_auxiliaries = sorted((count for task, count in steps.items() if task != args.target_task), reverse=True)
    return steps[args.target_task] + sum(of_auxiliaries[: args.max_auxiliaries_per_epoch])


def alphavil_plan(
    args: MultitaskSettings,
    epoch: int,
    num_epochs: int,
    steps: Mapping[str, int],
    task_weights: Mapping[str, float],
    absent: Collection[str],
) -> EpochPlan:
    """
    The plan of an epoch of αVIL.

    By default, it is one round of forks: K_t steps of every task from θ0. All else is ours. `joint_fraction` takes a
    share of every task's steps for a joint phase before the forks. `phase_lengths` shares the forks' steps in another
    way ([`own_steps`]). `target_phase` adds a phase of the target after the merge, instead of its fork or besides it.
    This phase passes through the same range of the schedule as the forks. No weight scales it. `rounds_per_epoch`
    splits every fork and phase of the target into as many parts, each with its part of the schedule. Without
    `merge_deltas` the forks are probes, and the last epoch, after which their weights would not be used, is joint. The
    last `final_target_epochs` train the target alone, in as many steps as any epoch, on its held-out rows too; both
    stages of the run pass through the whole schedule, as in STILTs. With `max_auxiliaries_per_epoch`, an epoch is that
    of a run without its absent tasks, and the nominal steps are those of the longest choice.

    Args:
        args (`MultitaskSettings`): The settings.
        epoch (`int`): The epoch, from 0.
        num_epochs (`int`): Epochs of the run.
        steps (`Mapping[str, int]`): K_t, the steps in which every task sees its sampled rows once.
        task_weights (`Mapping[str, float]`): Current task weights.
        absent (`Collection[str]`): Tasks that this epoch does not train, as they are pruned or not chosen.

    Raises:
        ValueError: If no task is left to train.
    """
    target, fraction, num_rounds = args.target_task, args.joint_fraction, args.rounds_per_epoch
    own = own_steps(args, steps)
    least = 0 if args.merge_deltas else 1
    nominal_joint_steps = max(least, round(fraction * longest_sum(args, steps)))
    nominal_steps = nominal_joint_steps + longest_sum(args, own)
    if args.target_phase == "both":
        nominal_steps += own[target]
    num_last = last_epochs(args.final_target_epochs, num_epochs)
    first_stage = num_epochs - num_last
    if num_last > 0 and epoch >= first_stage:
        schedule_range = stage_schedule_range(epoch, first_stage, num_last, num_epochs)
        alone = Phase(TARGET_PHASE, ((target,),) * nominal_steps, schedule_range=schedule_range)
        # No α is fitted any more, so nothing needs rows that were not trained on.
        return EpochPlan(epoch, (alone,), nominal_steps, trains_held_out=True)

    def in_stage(start: float, end: float) -> tuple[float, float]:
        if num_last == 0:
            return start, end
        first, last = stage_schedule_range(epoch, 0, first_stage, num_epochs)
        return first + (last - first) * start, first + (last - first) * end

    mixed = {task: count for task, count in steps.items() if task not in absent}
    joint_steps = max(least, round(fraction * sum(mixed.values())))
    boundary = nominal_joint_steps / nominal_steps
    is_joint = not args.merge_deltas and epoch + 1 == first_stage
    if is_joint:
        joint_steps += sum(own[task] for task in mixed)
        boundary, num_rounds = 1.0, 0
    # With a loss of weight 0, only stale momentum would move the parameters. Skipping the fork makes δ 0.
    skipped = {task for task in mixed if args.weight_applies_to == "loss" and task_weights[task] == 0}
    forked = [task for task in mixed if task not in skipped | not_forked(args)]
    phases = []
    if joint_steps > 0:
        phases.append(joint_phase(args, epoch, joint_steps, mixed, task_weights, in_stage(0.0, boundary)))
    for number in range(num_rounds):
        start, end = (boundary + (1.0 - boundary) * part / num_rounds for part in (number, number + 1))
        schedule_range = in_stage(start, 1.0 if number + 1 == num_rounds else end)
        part_of = {
            task: (number + 1) * count // num_rounds - number * count // num_rounds for task, count in own.items()
        }
        phases += [
            Phase(
                task,
                ((task,),) * part_of[task],
                fork=True,
                weighted=True,
                schedule_range=schedule_range,
                is_probe=not args.merge_deltas,
                round=number,
            )
            for task in forked
        ]
        if args.target_phase != "fork":
            after = ((target,),) * part_of[target]
            phases.append(Phase(TARGET_PHASE, after, schedule_range=schedule_range, round=number + 1))
    phases = [phase for phase in phases if phase.num_steps > 0]
    if not is_joint and not any(phase.fork or phase.name == TARGET_PHASE for phase in phases):
        raise ValueError("every task has weight 0, so nothing is left to train: raise `min_task_weight` above 0")
    return EpochPlan(epoch, tuple(phases), nominal_steps)
