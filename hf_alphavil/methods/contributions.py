"""What each task's delta contributes to the merge: the target's held-out loss without it, minus the loss with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from .alpha_problem import AlphaProblem
from .logit_losses import recognize_loss
from .objective import mean_loss


def leave_one_out(problem: AlphaProblem, alpha: Tensor) -> tuple[np.ndarray, float]:
    """
    Measures what each delta saves the target on the acceptance rows, the other α unchanged.

    It takes one forward pass over the rows per task and one for the merge. Afterwards the model holds the last merge
    that was evaluated.

    Args:
        problem (`AlphaProblem`): θ0, the deltas and the target's meta set.
        alpha (`torch.Tensor`): α of the merge, of shape `(tasks, groups)`.

    Returns:
        `tuple[np.ndarray, float]`: L(row; θ0 + Σ_{u≠t} α_u δ_u) − L(row; θ0 + Σ_u α_u δ_u), of shape `(tasks, rows)`,
        in the order of [`DeltaBank.phases`]; and the mean loss of the merge. If the model's loss is not one of
        `LOSSES`, losses of single rows are not known, and the second dimension is 1: the difference of mean losses.
    """
    merges = [alpha]
    for number in range(len(alpha)):
        others = alpha.clone()
        others[number] = 0
        merges.append(others)
    merged, *without = losses_of_merges(problem, merges)
    return np.stack([of_merge - merged for of_merge in without]), float(merged.mean())


def losses_of_merges(problem: AlphaProblem, merges: Iterable[Tensor]) -> list[np.ndarray]:
    """
    The target's losses on the acceptance rows under several merges, in arrays of one shape.

    Args:
        problem (`AlphaProblem`): The problem.
        merges (`Iterable[torch.Tensor]`): α of every merge, of shape `(tasks, groups)`.

    Returns:
        `list[np.ndarray]`: What [`row_losses`] returns; means alone if single rows' losses are not known everywhere.
    """
    losses = [row_losses(problem, alpha) for alpha in merges]
    if len({of_merge.shape for of_merge in losses}) > 1:
        losses = [of_merge.mean(keepdims=True) for of_merge in losses]
    return losses


def row_losses(problem: AlphaProblem, alpha: Tensor) -> np.ndarray:
    """
    The target's loss on each acceptance row, whose mean is the loss of the objective.

    Args:
        problem (`AlphaProblem`): The problem.
        alpha (`torch.Tensor`): Of shape `(tasks, groups)`.

    Returns:
        `np.ndarray` of shape `(rows,)`, or of shape `(1,)` with the mean, if the model's loss is not one of `LOSSES`.
    """
    rows = problem.acceptance_rows
    try:
        batches = problem.predictions(alpha, rows)
    except ValueError:  # logits or labels that are not one tensor
        return np.array([problem.meta.loss(rows)])
    loss = recognize_loss(batches)
    if loss is None:
        return np.array([mean_loss(batches)])
    losses = np.zeros(len(rows))
    for batch in batches:
        units = loss.units(batch)
        if units is not None and len(units.labels):
            # A micro-batch counts by its rows, and a row by its share of the micro-batch's units.
            share = len(batch.rows) / len(units.labels)
            np.add.at(losses, np.searchsorted(rows, units.rows), loss.values(units.logits, units.labels) * share)
    return losses


class Contributions:
    """
    The contributions of deltas, and their sums over an epoch's rounds and over epochs, by row of the meta set.

    Standard errors are those of a mean over independent rows. Sums are taken row by row before the error is computed,
    because every round measures the same rows.
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self._sums_of_epoch: dict[str, np.ndarray] = {}
        self._held_out_loss: float | None = None

    def add(self, gains: Mapping[str, np.ndarray], held_out_loss: float) -> dict[str, Any]:
        """
        Adds a round of forks, which may be a whole epoch.

        Args:
            gains (`Mapping[str, np.ndarray]`): What the task's delta saved each row, by task.
            held_out_loss (`float`): The target's mean loss on the rows under the merge.

        Returns:
            `dict`: `held_out_loss`, `contribution` (of this round) and `total_contribution` (of all rounds so far). By
            task, the last two have the `mean` over rows, its `standard_error` (`None` if losses of single rows are not
            known) and the number of `rows`.
        """
        self._held_out_loss = held_out_loss
        for sums in (self._sums, self._sums_of_epoch):
            for task, of_rows in gains.items():
                before = sums.get(task, np.zeros_like(of_rows))
                if len(before) != len(of_rows):  # only the mean was known in one of them
                    before = np.broadcast_to(before.mean(), of_rows.shape)
                sums[task] = before + of_rows
        return {"contribution": _summaries(gains), **self.so_far()}

    def end_epoch(self) -> dict[str, Any]:
        """`dict`: As [`add`], with the `contribution` of all rounds since this was last called, if there were any."""
        of_epoch, self._sums_of_epoch = self._sums_of_epoch, {}
        return {**({"contribution": _summaries(of_epoch)} if of_epoch else {}), **self.so_far()}

    def so_far(self) -> dict[str, Any]:
        """`dict`: `total_contribution`, and the `held_out_loss` of the last merge; empty before the first."""
        if self._held_out_loss is None:
            return {}
        return {"held_out_loss": self._held_out_loss, "total_contribution": _summaries(self._sums)}

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The sums by task, and the loss of the last merge; JSON-serialisable."""
        return {
            "held_out_loss": self._held_out_loss,
            "sums": {task: of_rows.tolist() for task, of_rows in self._sums.items()},
            "sums_of_epoch": {task: of_rows.tolist() for task, of_rows in self._sums_of_epoch.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self._held_out_loss = state["held_out_loss"]
        self._sums = {task: np.array(of_rows) for task, of_rows in state["sums"].items()}
        # A checkpoint of an earlier version has none.
        self._sums_of_epoch = {task: np.array(of_rows) for task, of_rows in state.get("sums_of_epoch", {}).items()}


def _summaries(gains: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    return {
        task: {
            "mean": float(of_rows.mean()),
            "standard_error": float(of_rows.std(ddof=1) / math.sqrt(len(of_rows))) if len(of_rows) > 1 else None,
            "rows": len(of_rows),
        }
        for task, of_rows in gains.items()
    }
