"""Methods that train jointly, then probe each task's effect on the target."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..data.plan import EpochPlan, Phase
from .base import Method
from .deltas import DeltaBank
from .joint import joint_phase
from .meta_rows import acceptance_rows
from .objective import Objectives
from .options import require
from .record import EpochRecord
from .weights import scaled_to_mean_one

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class ProbingOptions:
    """
    Options of every method that probes.

    Args:
        probe_fraction (`float`, *optional*, defaults to 0.5):
            Share of an epoch's steps that probes take, in (0, 1). Ours: an epoch costs as much as in multitask
            training.
    """

    probe_fraction: float = 0.5

    def __post_init__(self) -> None:
        require("probe_fraction", self.probe_fraction, 0 < self.probe_fraction < 1, "a share in (0, 1)")


class ProbingMethod(Method):
    """
    An epoch is a joint phase over all tasks under the current weights, followed by a probe of each task. A probe is a
    fork from the end of the joint phase, θ0.

    All probes pass through the same range of the learning-rate schedule, the rest of the epoch after the joint phase.
    They are unweighted, and each has a separate optimizer state. The target's loss with their deltas sets the weights
    of the next epoch. The deltas are not merged: the next epoch starts from θ0. The last epoch has only joint steps,
    because no epoch would follow its probes.

    Task t's probe has max(1, round(`probe_fraction`·K_t)) steps, like αVIL's forks after a joint phase. A task with
    weight 0 is left out of the joint phase, and its probe lets it come back. If a probe diverges, its task's effect
    counts as 0.
    """

    forks = True
    separates_phases = True
    needs_meta_set = True
    min_auxiliaries = 1
    min_epochs = 2
    starts_from_task_weights = True
    weighs_steps = True
    mixes_by_sampling = True
    Options: ClassVar[type] = ProbingOptions
    #: How the joint phase mixes tasks. `None` means as `task_sampling` sets it.
    sampling: ClassVar[str | None] = None

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self.task_weights = scaled_to_mean_one(self.task_weights)

    @property
    def plan_settings(self) -> dict[str, Any]:
        return {"num_epochs": self.num_epochs, "probe_fraction": self.options.probe_fraction}

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        probe_steps = self.probe_steps(steps)
        joint_steps = max(1, sum(steps.values()) - sum(probe_steps.values()))
        nominal_steps = joint_steps + sum(probe_steps.values())
        boundary = joint_steps / nominal_steps
        if epoch + 1 == self.num_epochs:
            joint_steps, boundary, probe_steps = nominal_steps, 1.0, {}
        drawn = {task: count for task, count in steps.items() if self.task_weights[task] > 0}
        joint = joint_phase(
            self.args, epoch, joint_steps, drawn, self.task_weights, (0.0, boundary), sampling=self.sampling
        )
        probes = (
            Phase(task, ((task,),) * count, fork=True, schedule_range=(boundary, 1.0), is_probe=True)
            for task, count in probe_steps.items()
        )
        return EpochPlan(epoch, (joint, *probes), nominal_steps)

    def probe_steps(self, steps: Mapping[str, int]) -> dict[str, int]:
        """
        Optimizer steps of every task's probe.

        Args:
            steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once.
        """
        return {task: max(1, round(self.options.probe_fraction * count)) for task, count in steps.items()}

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        meta = objectives.meta
        rows = acceptance_rows(meta)
        if not deltas.is_open:  # the last epoch
            loss = meta.loss(rows)
            return EpochRecord(meta_values=[loss], merged_loss=loss)

        def loss_with(*probes: str) -> float:
            deltas.combine(deltas.coefficients(dict.fromkeys(probes, 1.0)))
            return meta.loss(rows)

        start_loss = loss_with()
        effects = dict.fromkeys(self.tasks, 0.0)
        effects.update(self.measure(loss_with, start_loss, deltas.phases))
        effects = {task: effect if math.isfinite(effect) else 0.0 for task, effect in effects.items()}
        self.update_weights(effects, start_loss)
        deltas.rewind()
        return EpochRecord(meta_values=[start_loss], merged_loss=start_loss, details={"effects": effects})

    @abstractmethod
    def measure(self, loss_with: Callable[..., float], start_loss: float, probed: list[str]) -> Mapping[str, float]:
        """
        The tasks' effects on the target's meta loss, negative if they help.

        Args:
            loss_with (`Callable[..., float]`): Maps names of probes to the meta loss of θ0 plus their deltas.
            start_loss (`float`): The meta loss of θ0.
            probed (`list[str]`): Tasks whose probes left a delta.
        """

    @abstractmethod
    def update_weights(self, effects: Mapping[str, float], start_loss: float) -> None:
        """
        Sets the task weights of the next epoch.

        Args:
            effects (`Mapping[str, float]`): Effect of every task, finite; 0 if nothing was measured.
            start_loss (`float`): The meta loss of θ0.
        """
