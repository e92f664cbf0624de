"""The α step: fits the coefficients of the deltas to the target's objective on the meta set."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from .alpha_optimizer_base import AlphaOptimizer, Progress
from .alpha_problem import AlphaProblem
from .layer_groups import HEADS

logger = logging.getLogger(__name__)

#: Names of the target's objectives in messages.
OBJECTIVES = {"loss": "held-out loss", "metric": "held-out score", "entropy": "prediction entropy"}


@dataclass(frozen=True)
class AlphaFit:
    """
    The outcome of an α step. Values are as users read them: a metric is a score, so greater is better.

    Args:
        alpha (`torch.Tensor`):
            α of shape `(tasks, groups)`, float64, which is the start if the α step diverged. Rows are the tasks that
            left a delta, in the order of [`DeltaBank.phases`].
        values (`list[float]`):
            The objective before every step, on that step's rows, and then under the final α, on the last step's rows:
            S + 1 values, or fewer if the optimizer stopped early.
        acceptance (`tuple[float, float]`): The objective on the acceptance rows, at the start and under the fitted α.
        diverged (`bool`): Whether the fitted α was worse than the start, so that α fell back to it.
        details (`Mapping[str, Any]`, *optional*, defaults to `{}`): The optimizer's entries of the epoch's history.
        gains (`np.ndarray` of shape `(tasks, rows)`, *optional*):
            What each delta saves each acceptance row under this α, if the optimizer knows it ([`leave_one_out`]).
    """

    alpha: Tensor
    values: list[float]
    acceptance: tuple[float, float]
    diverged: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    gains: np.ndarray | None = None


def fit_alpha(
    problem: AlphaProblem, optimizer: AlphaOptimizer, seed: int, progress: Progress = lambda step: None
) -> AlphaFit:
    """
    Fits α, and rejects an α that makes the target worse.

    The rejection is ours: the objective on the problem's `acceptance_rows`, without the penalty, must be finite and
    not greater than at the start; otherwise α falls back to its start.

    Args:
        problem (`AlphaProblem`): What α minimises. Afterwards the model holds the last merge that was evaluated.
        optimizer (`AlphaOptimizer`): The run's optimizer of α.
        seed (`int`): Seed of the meta batches.
        progress (`Callable[[int], None]`, *optional*): Called with the number of every finished step.

    Returns:
        `AlphaFit`: The fitted α, or the start if it was rejected.
    """
    trajectory = optimizer.minimize(problem, seed, progress)
    start, rows, values = problem.start(), problem.acceptance_rows, trajectory.values
    fits_them = rows == problem.search_rows
    is_known = fits_them and trajectory.on_search_rows
    at_start = values[0] if is_known else problem.value(start, rows)
    at_end = values[-1] if is_known else problem.value(trajectory.alpha, rows)
    diverged = not math.isfinite(at_end) or at_end > at_start
    acceptance = problem.reported(at_start), problem.reported(at_end)
    if diverged:
        logger.warning(
            "The α step made the target's %s worse (%.4f → %.4f on %d meta rows): α falls back to its start of %g for "
            "this epoch. If this happens often, hold out more rows%s.",
            OBJECTIVES[problem.objective], *acceptance, len(rows), problem.initial,
            "" if "alpha_learning_rate" in optimizer.unread else " or lower `alpha_learning_rate`",
        )  # fmt: skip
    return AlphaFit(
        alpha=start if diverged else trajectory.alpha,
        values=[problem.reported(value) for value in values],
        acceptance=acceptance,
        diverged=diverged,
        details=trajectory.details,
        gains=trajectory.gains if fits_them and not diverged else None,
    )


def mean_over_encoder(alpha: Sequence[float], groups: Sequence[str]) -> float:
    """
    A task's α in one number: the mean over the encoder's groups.

    The group of the heads is left out unless it is the only one. An auxiliary's head does not affect the target's
    objective, so its α stays at the start.

    Args:
        alpha (`Sequence[float]`): The task's α by group.
        groups (`Sequence[str]`): The groups.
    """
    of_encoder = [value for value, group in zip(alpha, groups, strict=True) if group != HEADS] or list(alpha)
    return math.fsum(of_encoder) / len(of_encoder)
