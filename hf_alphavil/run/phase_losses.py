"""The unweighted losses of the running phase."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class PhaseLosses:
    """
    Mean loss per task of the running phase, and the first step at which one was NaN or infinite.

    Everything stays on the device until a phase ends or a checkpoint is written, so that no step synchronises.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}
        self._first_bad: dict[str, Tensor] = {}

    def observe(self, task: str, loss: Tensor, step: int) -> None:
        """
        Adds a micro-batch's loss.

        Args:
            task (`str`): The micro-batch's task.
            loss (`torch.Tensor`): Its unweighted loss, divided by the accumulation steps.
            step (`int`): The optimizer step within the phase, from 0.
        """
        bad = torch.where(torch.isfinite(loss), math.inf, float(step))
        if task in self._sums:
            self._sums[task] = self._sums[task] + loss
            self._first_bad[task] = torch.minimum(self._first_bad[task], bad)
        else:
            self._sums[task], self._first_bad[task] = loss.clone(), bad

    def count_step(self, task: str) -> None:
        """
        Counts an optimizer step of a task.

        Args:
            task (`str`): The task.

        Raises:
            RuntimeError: If no loss of the task was observed before.
        """
        if task not in self._sums:
            raise RuntimeError(
                f"a step of task {task!r} gave no loss to the trainer: a `training_step` of your own must call "
                "`super().training_step(model, inputs, num_items_in_batch)`, on which logs, methods, standardised "
                "labels and the check for NaN losses rely. For a loss of your own, override `compute_loss`"
            )
        self._steps[task] = self._steps.get(task, 0) + 1

    def reduce(self, gather: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], dict[str, int]]:
        """
        Mean losses and first failures over all ranks. Called on every rank.

        Args:
            gather (`Callable[[torch.Tensor], torch.Tensor]`): Concatenates a tensor of shape `(n,)` over the ranks.

        Returns:
            `tuple[dict[str, float], dict[str, int]]`: The mean loss of every task, and the first step with a NaN or
            infinite loss, from 0, for the tasks that had one; equal on all ranks.
        """
        tasks = sorted(task for task in self._sums if self._steps.get(task))
        if not tasks:
            return {}, {}
        means = [self._sums[task].double() / self._steps[task] for task in tasks]
        everywhere = gather(torch.stack([*means, *(self._first_bad[task].double() for task in tasks)]))
        everywhere = everywhere.reshape(-1, 2, len(tasks))
        mean_losses, first_bad = torch.stack([everywhere[:, 0].mean(0), everywhere[:, 1].amin(0)]).tolist()
        return (
            dict(zip(tasks, mean_losses, strict=True)),
            {task: int(step) for task, step in zip(tasks, first_bad, strict=True) if math.isfinite(step)},
        )

    def state_dict(self, gather: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """
        The state that a resumed phase needs, JSON-serialisable. Called on every rank.

        Args:
            gather (`Callable[[torch.Tensor], torch.Tensor]`): As in [`reduce`].
        """
        means, first_bad = self.reduce(gather)
        return {"means": means, "steps": dict(self._steps), "first_bad": first_bad}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Inverse of [`state_dict`]: every rank continues from the mean over all ranks."""
        self._steps = dict(state["steps"])
        self._sums = {
            task: torch.tensor(mean * self._steps[task], device=device) for task, mean in state["means"].items()
        }
        self._first_bad = {
            task: torch.tensor(float(state["first_bad"].get(task, math.inf)), device=device) for task in self._sums
        }
