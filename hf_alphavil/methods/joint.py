"""The baselines `single` and `multitask`, and the joint phase, which mixes tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..data.plan import JOINT_PHASE, EpochPlan, Phase
from ..data.sampling import allocate_steps, mixed_order, sampling_shares
from ..data.seeding import derive_seed
from .base import Method

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


def joint_phase(
    args: MultitaskSettings,
    epoch: int,
    num_steps: int,
    steps: Mapping[str, int],
    task_weights: Mapping[str, float],
    schedule_range: tuple[float, float] = (0.0, 1.0),
    sampling: str | None = None,
    is_last: bool = False,
) -> Phase:
    """
    A phase of `num_steps` optimizer steps that mixes tasks, one task per step.

    Every task gets its exact share of the steps, in a random order that depends on (data seed, epoch).

    Args:
        args (`MultitaskSettings`): The settings.
        epoch (`int`): The epoch, from 0.
        num_steps (`int`): Steps of the phase.
        steps (`Mapping[str, int]`): Steps in which every task of the phase sees its sampled rows once.
        task_weights (`Mapping[str, float]`): Current task weights.
        schedule_range (`tuple[float, float]`, *optional*, defaults to `(0.0, 1.0)`):
            The part of the epoch's learning-rate schedule that the phase passes through.
        sampling (`str`, *optional*): How tasks are mixed. Defaults to `args.task_sampling`.
        is_last (`bool`, *optional*, defaults to `False`): Whether it is the run's last joint phase.
    """
    sampling = args.task_sampling if sampling is None else sampling
    shares = sampling_shares(sampling, steps, task_weights, args.sampling_temperature)
    order = mixed_order(allocate_steps(num_steps, shares), derive_seed(args.resolved_data_seed, epoch, "joint"))
    # Weights that already set how often a task is drawn must not scale its steps again.
    return Phase(
        JOINT_PHASE,
        tuple((task,) for task in order),
        weighted=sampling != "weights",
        schedule_range=schedule_range,
        is_last=is_last,
    )


class Single(Method):
    """The target alone, on all its training rows: the baseline that auxiliaries have to beat."""

    name = "single"
    changes_weights = False

    @classmethod
    def trains_on(cls, task: str, target: str) -> bool:
        return task == target

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        target = self.args.target_task
        return EpochPlan(epoch, (Phase(target, ((target,),) * steps[target]),), steps[target])


class Multitask(Method):
    """Standard multitask training: one joint phase over all tasks, mixed by `task_sampling`. Weights do not change."""

    name = "multitask"
    starts_from_task_weights = True
    changes_weights = False
    weighs_steps = True
    mixes_by_sampling = True

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        num_steps = sum(steps.values())
        return EpochPlan(epoch, (joint_phase(self.args, epoch, num_steps, steps, self.task_weights),), num_steps)
