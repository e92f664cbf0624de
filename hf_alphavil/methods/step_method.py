"""Methods that weigh the tasks' gradients step by step: every step has a batch of each task."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..data.plan import JOINT_PHASE, EpochPlan, Phase
from ..distributed.gradient_exchange import Gradient
from .base import Method
from .deltas import DeltaBank
from .gradients import TaskGradients
from .objective import Objective, Objectives
from .record import EpochRecord

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


class Step(Protocol):
    """A multi-task step, with a batch of every task, after its backward passes. Its values are equal on all ranks."""

    losses: dict[str, float]
    """Mean loss of every task's batch, target first."""
    gradients: TaskGradients
    """The gradients of those losses, in the same order."""

    @property
    def learning_rate(self) -> float:
        """η of the first parameter group."""
        ...

    @property
    def seed(self) -> int:
        """Seed from (seed, epoch, step), for random draws that must be the same on all ranks and after a resume."""
        ...

    @property
    def meta(self) -> Objective:
        """The target on the meta set, for methods with `needs_meta_set`."""
        ...

    def meta_rows(self, count: int) -> list[int]:
        """Rows of the meta set drawn for this step without replacement; all of them if there are fewer."""
        ...

    def recomputed_losses(self) -> dict[str, float]:
        """The losses of the step's batches at the current parameters, in training mode."""
        ...

    def recomputed_gradient(self, weights: Mapping[str, float]) -> Gradient:
        """∇ Σ w_t L_t of the step's batches at the current parameters, without dropout."""
        ...


class StepMethod(Method):
    """
    A method that gives every task's gradient a weight in every step.

    An epoch has ⌈Σ K_t / T⌉ steps of T batches. It sees as many examples as an epoch of `multitask`, but the same
    number of every task: small tasks are repeated, large ones are cut short (ours: the papers sample in many ways).

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.

    Raises:
        ValueError: If there is no auxiliary task.
    """

    needs_whole_gradients = True
    min_auxiliaries = 1
    #: Whether weights act on heads too, like weights of losses. Otherwise heads follow their own task's gradient.
    weighs_heads: bool = True

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        #: The order of the tasks in a step: target first, the others by name.
        self.order = (args.target_task, *sorted(self.auxiliaries))
        self.num_steps = 0
        self._weight_sums = dict.fromkeys(self.tasks, 0.0)
        self._steps_in_epoch = 0

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        num_steps = math.ceil(sum(steps.values()) / len(self.tasks))
        return EpochPlan(epoch, (Phase(JOINT_PHASE, (self.order,) * num_steps),), num_steps)

    @abstractmethod
    def weigh(self, step: Step) -> Mapping[str, float]:
        """
        The weights of a step's gradients. The step follows Σ w_t g_t.

        Args:
            step (`Step`): The step's losses and gradients, and the meta set.

        Returns:
            `Mapping[str, float]`: w_t of every task.
        """

    def after_step(self, step: Step) -> None:
        """
        Called when the optimizer has taken the step, for methods that measure its effect.

        Args:
            step (`Step`): The step, whose gradients have been cleared.
        """

    def count_step(self, weights: Mapping[str, float]) -> None:
        """
        Adds a step's weights to the epoch's mean. Called once per step.

        Args:
            weights (`Mapping[str, float]`): The step's weights.
        """
        self.num_steps += 1
        self._steps_in_epoch += 1
        for task, weight in weights.items():
            self._weight_sums[task] += weight

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        """Sets `task_weights` to the mean weights of the epoch's steps."""
        self.task_weights = {task: total / self._steps_in_epoch for task, total in self._weight_sums.items()}
        self._weight_sums, self._steps_in_epoch = dict.fromkeys(self.tasks, 0.0), 0
        return EpochRecord(task_weights_used=dict(self.task_weights))

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "num_steps": self.num_steps,
            "weight_sums": dict(self._weight_sums),
            "steps_in_epoch": self._steps_in_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.num_steps = state["num_steps"]
        self._weight_sums = dict(state["weight_sums"])
        self._steps_in_epoch = state["steps_in_epoch"]
