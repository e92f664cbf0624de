"""The α step: coefficients of the deltas that minimise the target's objective on the meta set."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..data.seeding import derive_seed
from .alpha_optimizers import ALPHA_OPTIMIZERS
from .alpha_problem import HEADS, AlphaProblem, AlphaSettings
from .base import Objective
from .deltas import DeltaBank

logger = logging.getLogger(__name__)

#: Parameters are judged on this many meta rows at most.
MAX_ACCEPTANCE_ROWS = 512

#: What the target's objective is called in messages.
OBJECTIVES = {"loss": "held-out loss", "metric": "held-out score", "entropy": "prediction entropy"}


@dataclass(frozen=True)
class AlphaFit:
    """
    The outcome of an α step. Of a metric, values are scores, the greater the better.

    Args:
        alpha (`dict[str, float]`):
            α per task; with one α per group of parameters, their mean over the encoder's groups. A head's is not in
            it: an auxiliary's head does not enter the target's objective, and its α stays where it started.
        alpha_by_layer (`dict[str, dict[str, float]]`, *optional*): α per task and group, where groups have their own.
        values (`list[float]`):
            The objective before every step, on the step's rows, then of the last rows under the final α: S+1 values,
            or fewer where the optimizer stopped early.
        judged (`tuple[float, float]`): The objective on the judged meta rows at the start and under the fitted α.
        diverged (`bool`): Whether the fitted α was worse than the start, which then stands.
        gradient_scale (`float`): The unit of `sgd`'s step size, to be passed on to the next epoch.
    """

    alpha: dict[str, float]
    alpha_by_layer: dict[str, dict[str, float]] | None
    values: list[float]
    acceptance: tuple[float, float]
    diverged: bool
    gradient_scale: float

    @property
    def coefficients(self) -> Mapping[str, float] | Mapping[str, Mapping[str, float]]:
        """What [`DeltaBank.combine`] takes."""
        return self.alpha if self.alpha_by_layer is None else self.alpha_by_layer


def fit_alpha(
    deltas: DeltaBank,
    meta: Objective,
    tasks: Sequence[str],
    settings: AlphaSettings,
    gradient_scale: float = 0.0,
    progress: Callable[[int], None] = lambda step: None,
) -> AlphaFit:
    """
    Fits α to minimise the target's objective L_*(meta rows; θ0 + Σ α_t δ_t), and a pull of α towards its start.

    Two rules are ours: the judgement on the meta set, without the pull, that lets a diverged α fall back to its start,
    and a fresh α optimizer each epoch.

    Args:
        deltas (`DeltaBank`): θ0 and the deltas; the model holds some combination of them afterwards.
        meta (`Objective`): The target on the meta set.
        tasks (`Sequence[str]`): All tasks; one that left no delta keeps the start value.
        settings (`AlphaSettings`): Optimizer and objective, steps, step size, start, pull, batch size, seed.
        gradient_scale (`float`, *optional*, defaults to 0.0): The unit of `sgd`'s step size after the epochs before.
        progress (`Callable[[int], None]`, *optional*): Told the number of every finished step.

    Returns:
        `AlphaFit`: α, the objective on the way, and the gradient scale to pass on.
    """
    problem = AlphaProblem(deltas, meta, tasks, settings)
    acceptance = acceptance_rows(meta)
    trajectory = ALPHA_OPTIMIZERS[settings.optimizer](problem, acceptance, gradient_scale, progress)
    start, end, values = problem.start(), trajectory.alpha, trajectory.values
    judged_start = values[0] if trajectory.on_acceptance_rows else problem.objective(start, acceptance)
    judged_end = values[-1] if trajectory.on_acceptance_rows else problem.objective(end, acceptance)
    diverged = not math.isfinite(judged_end) or judged_end > judged_start
    sign = -1.0 if settings.objective == "metric" else 1.0
    if diverged:
        logger.warning(
            "The α step made the target's %s worse (%.4f → %.4f on %d meta rows): α falls back to its start of %g for "
            "this epoch. Should this happen often, lower `alpha_learning_rate` or hold out more rows.",
            OBJECTIVES[settings.objective],
            sign * judged_start,
            sign * judged_end,
            len(acceptance),
            settings.initial,
        )
    layout = problem.layout
    unmoved = dict.fromkeys(layout.groups, settings.initial)
    fitted = layout.by_group(start if diverged else end)
    by_group = {task: fitted.get(task, unmoved) for task in tasks}
    averaged = [group for group in layout.groups if group != HEADS] or list(layout.groups)
    return AlphaFit(
        alpha={
            task: math.fsum(of_task[group] for group in averaged) / len(averaged) for task, of_task in by_group.items()
        },
        alpha_by_layer=by_group if layout.by_layer else None,
        values=[sign * value for value in values],
        acceptance=(sign * judged_start, sign * judged_end),
        diverged=diverged,
        gradient_scale=trajectory.gradient_scale,
    )


def acceptance_rows(meta: Objective) -> list[int]:
    """`list[int]`: The meta rows on which parameters are judged: all of them, or the first `MAX_ACCEPTANCE_ROWS`."""
    return list(range(min(meta.num_rows, MAX_ACCEPTANCE_ROWS)))


def alpha_seed(data_seed: int, epoch: int, target: str) -> int:
    """Seed of an epoch's meta batches: from (data seed, epoch, target)."""
    return derive_seed(data_seed, epoch, target, "meta")
