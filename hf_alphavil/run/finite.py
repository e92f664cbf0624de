"""Checks for losses and parameters that became NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..data import Phase
from ..setup.run_context import RunContext
from .divergence import DivergenceError, diverged
from .state import RunState


@dataclass(frozen=True)
class Failure:
    """
    Where a phase became NaN or infinite.

    Args:
        step (`int`): The step within the phase, from 0.
        task (`str`, *optional*): The task whose loss did so; `None` if only parameters did.
    """

    step: int
    task: str | None = None

    @property
    def what(self) -> str:
        """`str`: What became NaN or infinite, as the subject of a message."""
        return "the parameters" if self.task is None else f"the loss of task {self.task!r}"


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

    def failure(self, first_bad: Mapping[str, int]) -> Failure | None:
        """
        Finds where the running phase diverged, if it did. Called on every rank of the group, after a step.

        Args:
            first_bad (`Mapping[str, int]`): By task, the phase's first step with a NaN or infinite loss, from 0.

        Returns:
            `Failure`, *optional*: The first such loss or, if only parameters are NaN or infinite, the step just taken.
            `None` if everything is finite.
        """
        if first_bad:
            task, step = min(first_bad.items(), key=lambda item: item[1])
            return Failure(step, task)
        if self.model_is_finite():
            return None
        return Failure(self.state.lane.locate(self.state.step - 1)[1])

    def model_is_finite(self) -> bool:
        """`bool`: Whether all parameters are finite, on every rank of the group."""
        # The second norm takes five times as long. Only squares can overflow, which it does without.
        return self._norm_is_finite(2) or self._norm_is_finite(math.inf)

    def _norm_is_finite(self, order: float) -> bool:
        norms = self.state.groups.gather(self.state.deltas.model_norm(order).reshape(1))
        return bool(norms.isfinite().all())

    def require(self, first_bad: Mapping[str, int]) -> None:
        """
        Stops a run whose only model has diverged. Called on every rank of the group.

        Args:
            first_bad (`Mapping[str, int]`): As in [`failure`].

        Raises:
            DivergenceError: If a loss or a parameter is NaN or infinite.
        """
        failed = self.failure(first_bad)
        if failed is None:
            return
        state = self.state
        step = state.step - state.lane.locate(state.step - 1)[1] + failed.step
        by = "by" if failed.task is None else "at"  # parameters are checked at checkpoints and at ends of phases
        what = f"{failed.what} became NaN or infinite {by} step {step} of epoch {state.epoch + 1}"
        # The model was checked before every checkpoint, so any checkpoint up to this step is good.
        raise diverged(what, self.context.folder, state.epoch, state.step)

    def require_merged(self, loss: float | None) -> None:
        """
        Stops a run whose merged model has diverged. Called on every rank.

        Args:
            loss (`float`, *optional*): The target's loss under the merged parameters, if it was measured.

        Raises:
            DivergenceError: If a parameter or the loss is NaN or infinite.
        """
        if not self.model_is_finite():
            raise self.lost_epoch("the merged parameters are NaN or infinite")
        if loss is not None and not math.isfinite(loss):
            raise self.lost_epoch("the target's loss under the merged parameters is NaN or infinite")

    def lost_epoch(self, what: str) -> DivergenceError:
        """
        Creates the error of an epoch that left no finite model.

        Args:
            what (`str`): What became NaN or infinite.
        """
        return diverged(f"{what} in epoch {self.state.epoch + 1}", self.context.folder, self.state.epoch, 0)

    def dropped_phase(self, phase: Phase, failed: Failure) -> str:
        """
        Creates the warning about a phase that was undone.

        Args:
            phase (`Phase`): The phase.
            failed (`Failure`): Where it became NaN or infinite.
        """
        what = "its δ is dropped, the weight of its task stays" if phase.fork else "it is undone"
        rows = "" if failed.task is None else f", or look at the rows of task {failed.task!r}"
        return (
            f"T{failed.what[1:]} became NaN or infinite {'by' if failed.task is None else 'at'} step "
            f"{failed.step + 1} of {phase.num_steps} of the phase {phase.name!r} in epoch {self.state.epoch + 1}: "
            f"{what}, its optimizer state is restored and the run continues. If this happens again, lower "
            f"`learning_rate`, clip gradients (`max_grad_norm`){rows}."
        )
