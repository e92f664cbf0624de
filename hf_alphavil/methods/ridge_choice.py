"""Fits moves of α to the rows of a target, with a ridge that cross-validation over the rows chooses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .linear_logits import LinearLogits
from .logit_losses import CrossEntropy

#: Parts into which the rows are divided for cross-validation.
FOLDS = 5
#: Ridges to choose from, strongest first, relative to half the mean curvature of the loss at the start of α. At 1, the
#: ridge is as curved as the loss.
RIDGES = 10.0 ** np.arange(4, -4.5, -0.5)
#: The standard deviation of α about its start before any row is seen, in units of the start.
PRIOR = 0.5


@dataclass(frozen=True)
class RidgeFit:
    """
    Moves of the unknowns, and what the rows say about them.

    Args:
        moves (`np.ndarray` of shape `(unknowns,)`): The moves; 0 if no ridge is better than staying at the start.
        ridge (`float`): The factor of Σ moves²; infinite if no ridge is better than staying at the start.
        standard_errors (`np.ndarray` of shape `(unknowns,)`): Of the moves, see [`standard_errors`].
        gains (`np.ndarray` of shape `(unknowns, rows)`):
            What the delta of each unknown saves each row: the loss without it, minus the loss. The moves are those of
            the fit to the other folds, which has not seen the row.
    """

    moves: np.ndarray
    ridge: float
    standard_errors: np.ndarray
    gains: np.ndarray


def fit_with_ridge(
    problem: LinearLogits, penalty: float, limits: tuple[float, float], start: float, seed: int
) -> RidgeFit:
    """
    Chooses the ridge by cross-validation, and fits all rows with it.

    The one-standard-error rule chooses (Breiman et al. 1984): the strongest ridge whose left-out loss is above the
    least by no more than one standard error of the difference, over rows. The strongest of all keeps the start.

    [`prior_ridge`] is added to every ridge. Where deltas are small, the loss is a straight line in the moves. Left-out
    losses then say in which direction the moves should go, and not how far.

    Args:
        problem (`LinearLogits`): The loss as a function of the moves from the start of α.
        penalty (`float`): The factor of Σ moves² besides the ridge.
        limits (`tuple[float, float]`): The least and the greatest move, around 0.
        start (`float`): The start of α. A move of −start takes a delta away.
        seed (`int`): Seed of the folds.
    """
    prior = prior_ridge(problem, PRIOR * start)
    penalty += prior
    half_curvature = np.trace(problem.curvature(np.zeros(problem.num_unknowns))) / problem.num_unknowns / 2
    # Without a slope, the start is the best α. Without a second fold, nothing tells the ridges apart.
    ridges = RIDGES * half_curvature if half_curvature > 0 and problem.num_rows > 1 else RIDGES[:0]
    folds = _fold_of_rows(problem, seed)[problem.rows]
    paths = {
        fold: _path(problem.restricted_to(folds != fold) if len(ridges) else problem, ridges + penalty, limits)
        for fold in np.unique(folds)
    }
    losses = [
        problem.summed_by_row(_left_out(problem, folds, {fold: path[number] for fold, path in paths.items()}))
        for number in range(len(ridges) + 1)
    ]
    chosen = _within_one_standard_error(np.stack(losses))
    moves = _path(problem, ridges[:chosen] + penalty, limits)[-1]
    ridge = float(ridges[chosen - 1]) if chosen else np.inf
    by_fold = {fold: path[chosen] for fold, path in paths.items()}
    errors = standard_errors(problem, moves, ridge + penalty)
    return RidgeFit(moves, ridge + prior, errors, _gains(problem, folds, by_fold, start))


def prior_ridge(problem: LinearLogits, deviation: float) -> float:
    """
    The ridge of a normal prior: it shrinks a move of standard error s by the factor deviation² / (deviation² + s²).

    This s is that of a move that is fitted alone and without a ridge: √B / A, where A is the loss's curvature at the
    start and B the variance of its slope over draws of the rows. The ridge is therefore B / A / (2 · deviation²). For
    several moves, A and B are summed over them. If the loss is a negative log-likelihood, B / A is about 1 / rows.

    Args:
        problem (`LinearLogits`): The loss.
        deviation (`float`): The standard deviation of the prior.
    """
    start = np.zeros(problem.num_unknowns)
    curvature = np.trace(problem.curvature(start))
    if not curvature > 0:
        return 0.0
    return float(np.trace(_gradient_covariance(problem, start)) / curvature / (2 * deviation**2))


def standard_errors(problem: LinearLogits, moves: np.ndarray, ridge: float) -> np.ndarray:
    """
    The standard errors of fitted moves over draws of the rows, for a given ridge.

    They are the root of the diagonal of A⁻¹BA⁻¹ (the sandwich), where A is the curvature of loss and ridge, and B the
    covariance of the loss's gradient, from its parts by row. That the ridge was chosen by the same rows and that moves
    have a limit is left out.

    Args:
        problem (`LinearLogits`): The loss.
        moves (`np.ndarray` of shape `(unknowns,)`): The minimum of loss + ridge·Σ moves².
        ridge (`float`): Above 0. An infinite one has no errors.
    """
    if not np.isfinite(ridge) or problem.num_rows < 2:
        return np.zeros(len(moves))
    bread = np.linalg.inv(problem.curvature(moves) + 2 * ridge * np.eye(len(moves)))
    return np.sqrt(np.diagonal(bread @ _gradient_covariance(problem, moves) @ bread))


def _gradient_covariance(problem: LinearLogits, moves: np.ndarray) -> np.ndarray:
    """The covariance of the loss's gradient over draws of the rows, from its parts by row; 0 for a single row."""
    parts = problem.row_slopes(moves)
    parts = parts - parts.mean(axis=1, keepdims=True)
    return parts @ parts.T * problem.num_rows / max(problem.num_rows - 1, 1)


def _fold_of_rows(problem: LinearLogits, seed: int) -> np.ndarray:
    """The fold of each row, drawn by class where a row has one class."""
    order = np.random.default_rng(seed).permutation(problem.num_rows)
    if isinstance(problem.loss, CrossEntropy) and len(problem.labels) == problem.num_rows:
        class_of = np.empty(problem.num_rows, dtype=np.int64)
        class_of[problem.rows] = problem.labels
        order = order[np.argsort(class_of[order], kind="stable")]
    folds = np.empty(problem.num_rows, dtype=np.int64)
    folds[order] = np.arange(problem.num_rows) % FOLDS
    return folds


def _path(problem: LinearLogits, ridges: Iterable[float], limits: tuple[float, float]) -> list[np.ndarray]:
    """No move, and the minimum for each ridge, sought from the one before."""
    path = [np.zeros(problem.num_unknowns)]
    for ridge in ridges:
        path.append(problem.minimum(float(ridge), limits, path[-1]))
    return path


def _left_out(problem: LinearLogits, folds: np.ndarray, moves: dict[int, np.ndarray]) -> np.ndarray:
    """The weighted losses of the units, each under the moves that have not seen its fold."""
    losses = np.empty(len(problem.labels))
    for fold, of_fold in moves.items():
        losses[folds == fold] = problem.unit_losses(of_fold)[folds == fold]
    return losses


def _within_one_standard_error(losses: np.ndarray) -> int:
    """The first of several losses by row whose mean is above the least by at most one standard error."""
    above = losses - losses[np.argmin(losses.sum(axis=1))]
    num_rows = losses.shape[1]
    allowed = above.std(axis=1, ddof=1) * np.sqrt(num_rows) if num_rows > 1 else np.zeros(len(above))
    return int(np.argmax(above.sum(axis=1) <= allowed))


def _gains(problem: LinearLogits, folds: np.ndarray, moves: dict[int, np.ndarray], start: float) -> np.ndarray:
    losses, gains = _left_out(problem, folds, moves), []
    for unknown in range(problem.num_unknowns):
        without = {fold: np.where(np.arange(len(m)) == unknown, -start, m) for fold, m in moves.items()}
        gains.append(problem.summed_by_row(_left_out(problem, folds, without) - losses) * problem.num_rows)
    return np.stack(gains)
