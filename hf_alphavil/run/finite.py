"""Checks for losses and parameters that became NaN or infinite."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..data import Phase
from ..setup.run_context import RunContext
from .divergence import DivergenceError, diverged
from .state import RunState


class FiniteCheck:
    """
    Finds phases whose loss or parameters became NaN or infinite, on any rank of the group.

    Args:
        context (`RunContext`): The run's device and folder.
        state (`RunState`): The run's position and parameters.
    """

    def __init__(self, context: RunContext, state: RunState) -> None:
        self.context = context
        self.state = state

    def failure(self, first_bad: Mapping[str, int]) -> tuple[str, int] | None:
        """
        Finds where the running phase diverged, if it did. Called on every rank of the group, after a step.

        Args:
            first_bad (`Mapping[str, int]`): By task, the phase's first step with a NaN or infinite loss, from 0.

        Returns:
            `tuple[str, int]`, *optional*: Task and step within the phase: those of the first such loss or, if only
            parameters are NaN or infinite, of the step just taken. `None` if everything is finite.
        """
        if first_bad:
            return min(first_bad.items(), key=lambda item: item[1])
        if self.model_is_finite():
            return None
        phase, step = self.state.lane.locate(self.state.step - 1)
        return phase.step_tasks[step][0], step

    def model_is_finite(self) -> bool:
        """`bool`: Whether all parameters are finite, on every rank of the group."""
        finite = torch.tensor([float(self.state.deltas.model_is_finite())], device=self.context.args.device)
        return bool(self.state.groups.gather(finite).min() == 1)

    def require(self, first_bad: Mapping[str, int]) -> None:
        """
        Stops a run whose only model has diverged. Called on every rank of the group.

        Args:
            first_bad (`Mapping[str, int]`): As in [`failure`].

        Raises:
            DivergenceError: If a loss or a parameter is NaN or infinite.
        """
        failed = self.failure(first_bad)
        if failed is not None:
            task, step = failed
            epoch = self.state.epoch
            what = f"the loss of task {task!r} became NaN or infinite at step {step + 1} of epoch {epoch + 1}"
            # The model was checked before every checkpoint, so any checkpoint up to this step is good.
            raise diverged(what, self.context.folder, epoch, self.state.step)

    def lost_epoch(self, what: str) -> DivergenceError:
        """
        Creates the error of an epoch that left no finite model.

        Args:
            what (`str`): What became NaN or infinite.
        """
        return diverged(f"{what} in epoch {self.state.epoch + 1}", self.context.folder, self.state.epoch, 0)

    def dropped_phase(self, phase: Phase, task: str, step: int) -> str:
        """
        Creates the warning about a phase that was undone.

        Args:
            phase (`Phase`): The phase.
            task (`str`): The task whose loss became NaN or infinite.
            step (`int`): The step within the phase, from 0.
        """
        what = f"its δ is dropped, the weight of task {task!r} stays" if phase.fork else "it is undone"
        return (
            f"The loss of task {task!r} became NaN or infinite at step {step + 1} of {phase.num_steps} of the phase "
            f"{phase.name!r} in epoch {self.state.epoch + 1}: {what}, its optimizer state is restored and the run "
            "continues. If this happens again, lower `learning_rate`, clip gradients (`max_grad_norm`), or look at "
            "the task's rows."
        )
