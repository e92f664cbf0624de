"""STILTs: intermediate training on the auxiliaries, then the target alone (Phang, Févry, Bowman; arXiv 1811.01088)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.plan import EpochPlan, Phase
from .base import Method
from .deltas import DeltaBank
from .joint import joint_phase
from .objective import Objectives
from .options import require
from .record import EpochRecord
from .stages import stage_schedule_range

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class StiltsOptions:
    """
    Options of [`Stilts`].

    Args:
        intermediate_epochs (`int`, *optional*, defaults to 0):
            Epochs of the first stage, fewer than the run's. 0 means half of the run's, rounded down.
    """

    intermediate_epochs: int = 0

    def __post_init__(self) -> None:
        require("intermediate_epochs", self.intermediate_epochs, self.intermediate_epochs >= 0, "0 or more")


class Stilts(Method):
    """
    STILTs: the first epochs train the auxiliaries jointly, mixed by `task_sampling`; the others train the target
    alone.

    The paper trains one intermediate task. Several at once are ours, and so is the budget: every epoch has N = Σ K_t
    steps, as in multitask training, so that an epoch repeats the target's rows. Each stage has a separate optimizer
    state and passes through the whole learning-rate schedule, as two separate runs would.

    In the history, `task_weights_used` is 1 for the tasks that an epoch trains and 0 for the others; `task_weights`
    are those of the next epoch.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    name = "stilts"
    separates_phases = True
    mixes_by_sampling = True
    min_auxiliaries = 1
    min_epochs = 2
    Options = StiltsOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self.task_weights = self._weights(epoch=0)

    def begin(self, num_epochs: int) -> None:
        super().begin(num_epochs)
        if self.options.intermediate_epochs >= num_epochs:
            raise ValueError(
                f"method_kwargs: intermediate_epochs={self.options.intermediate_epochs} of the method 'stilts' leaves "
                f"none of the run's {num_epochs} epochs to the target: pass at most {num_epochs - 1}, or raise "
                "`num_train_epochs`"
            )

    @property
    def intermediate_epochs(self) -> int:
        """`int`: Epochs of the first stage."""
        return self.options.intermediate_epochs or max(1, self.num_epochs // 2)

    @property
    def plan_settings(self) -> dict[str, Any]:
        return {"num_epochs": self.num_epochs, "intermediate_epochs": self.intermediate_epochs}

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        num_steps, first = sum(steps.values()), self.intermediate_epochs
        if epoch < first:
            schedule_range = stage_schedule_range(epoch, 0, first, self.num_epochs)
            auxiliaries = {task: steps[task] for task in self.auxiliaries}
            is_last = epoch + 1 == first
            phase = joint_phase(
                self.args, epoch, num_steps, auxiliaries, self._weights(epoch), schedule_range, is_last=is_last
            )
        else:
            schedule_range = stage_schedule_range(epoch, first, self.num_epochs - first, self.num_epochs)
            target = self.args.target_task
            phase = Phase(target, ((target,),) * num_steps, schedule_range=schedule_range)
        return EpochPlan(epoch, (phase,), num_steps)

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        if epoch + 1 < self.num_epochs:
            self.task_weights = self._weights(epoch + 1)
        return super().merge(deltas, objectives, epoch, progress)

    def _weights(self, epoch: int) -> dict[str, float]:
        is_target_stage = epoch >= self.intermediate_epochs
        return {task: float((task == self.args.target_task) == is_target_stage) for task in self.tasks}
