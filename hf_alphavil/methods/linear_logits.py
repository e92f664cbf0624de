"""A target's loss where its logits are linear in α: the loss, its minimum, and the rows' say in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .logit_losses import LogitLoss, Units
from .objective import Predictions

#: The most Newton steps, and the length, relative to the moves, at which they end.
MAX_NEWTON_STEPS = 100
TOLERANCE = 1e-10


@dataclass(frozen=True)
class LinearLogits:
    """
    Σ_i w_i · loss(z_i + Σ_k a_k J_ki, y_i) as a function of a, the moves of K unknowns; convex.

    Args:
        loss (`LogitLoss`): The loss of a unit.
        logits (`np.ndarray` of shape `(units, classes)`): z, the logits without a move.
        changes (`np.ndarray` of shape `(unknowns, units, classes)`): J, the change of the logits per move.
        labels (`np.ndarray` of shape `(units,)`): y.
        weights (`np.ndarray` of shape `(units,)`): w, of sum 1.
        rows (`np.ndarray` of shape `(units,)`): The row of each unit, from 0. Rows are independent of each other.
    """

    loss: LogitLoss
    logits: np.ndarray
    changes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray

    @classmethod
    def through(
        cls,
        loss: LogitLoss,
        here: Sequence[Predictions],
        probes: Sequence[Sequence[Predictions]],
        move: float,
        away: np.ndarray,
    ) -> LinearLogits:
        """
        The logits that are linear in the moves and right at one place and at one probe per unknown.

        Args:
            loss (`LogitLoss`): The loss of a unit.
            here (`Sequence[Predictions]`): Outputs at the place, by micro-batch.
            probes (`Sequence[Sequence[Predictions]]`): Outputs for each unknown, which has moved from there.
            move (`float`): How far.
            away (`np.ndarray` of shape `(unknowns,)`): The moves of the place itself.
        """
        units, num_rows = _units(loss, here), sum(len(batch.rows) for batch in here)
        shares = [len(batch.rows) / num_rows / max(len(of.labels), 1) for batch, of in zip(here, units, strict=True)]
        logits = _logits(units)
        with np.errstate(invalid="ignore"):
            changes = np.stack([(_logits(_units(loss, probe)) - logits) / move for probe in probes])
        # Choices that a row does not have may have the logit −∞. An unknown whose probe is not finite stays.
        changes[:, ~np.isfinite(logits)] = 0
        changes[~np.isfinite(changes).all(axis=(1, 2))] = 0
        return cls(
            loss=loss,
            logits=logits - np.tensordot(away, changes, axes=1),
            changes=changes,
            labels=np.concatenate([of.labels for of in units]),
            weights=np.concatenate([np.full(len(of.labels), share) for of, share in zip(units, shares, strict=True)]),
            rows=np.unique(np.concatenate([of.rows for of in units]), return_inverse=True)[1],
        )

    @property
    def num_unknowns(self) -> int:
        """`int`: K."""
        return len(self.changes)

    @property
    def num_rows(self) -> int:
        """`int`: Number of rows that have units."""
        return int(self.rows.max()) + 1

    def restricted_to(self, units: np.ndarray) -> LinearLogits:
        """
        The mean over some of the units.

        Args:
            units (`np.ndarray` of shape `(units,)`): Which of them, as truth values.
        """
        weights = self.weights[units]
        return replace(
            self, logits=self.logits[units], changes=self.changes[:, units], labels=self.labels[units],
            weights=weights / weights.sum(), rows=self.rows[units],
        )  # fmt: skip

    def logits_at(self, moves: np.ndarray) -> np.ndarray:
        """`np.ndarray`: The logits at given moves, of shape `(units, classes)`."""
        return self.logits + np.tensordot(moves, self.changes, axes=1)

    def unit_losses(self, moves: np.ndarray) -> np.ndarray:
        """`np.ndarray`: The weighted losses of the units at given moves; their sum is the loss."""
        return self.weights * self.loss.values(self.logits_at(moves), self.labels)

    def curvature(self, moves: np.ndarray) -> np.ndarray:
        """`np.ndarray`: The second derivatives of the loss, of shape `(unknowns, unknowns)`."""
        return self.loss.curvature(self.logits_at(moves), self.changes, self.weights)

    def row_slopes(self, moves: np.ndarray) -> np.ndarray:
        """`np.ndarray`: The gradient's part of each row, of shape `(unknowns, rows)`; their sum is the gradient."""
        of_units = np.einsum("kuc,uc->ku", self.changes, self._weighted_slopes(moves))
        return np.stack([self.summed_by_row(of_unknown) for of_unknown in of_units])

    def summed_by_row(self, of_units: np.ndarray) -> np.ndarray:
        """`np.ndarray`: Sums over each row's units, of shape `(rows,)`."""
        return np.bincount(self.rows, weights=of_units)

    def minimum(self, ridge: float, limits: tuple[float, float], first: np.ndarray) -> np.ndarray:
        """
        The moves within limits that minimise loss + ridge·Σ a².

        Projected Newton steps (Bertsekas 1982): moves at their limit that the gradient pushes outwards are held.

        Args:
            ridge (`float`): Above 0, so that there is one minimum.
            limits (`tuple[float, float]`): The least and the greatest a_k.
            first (`np.ndarray` of shape `(unknowns,)`): The moves to begin from.
        """

        def total(moves: np.ndarray) -> float:
            return float(self.unit_losses(moves).sum() + ridge * moves @ moves)

        (low, high), moves, value = limits, first, total(first)
        for _ in range(MAX_NEWTON_STEPS):
            gradient = self.changes.reshape(len(moves), -1) @ self._weighted_slopes(moves).ravel() + 2 * ridge * moves
            free = ((moves > low) | (gradient < 0)) & ((moves < high) | (gradient > 0))
            curvature = self.curvature(moves) + 2 * ridge * np.eye(len(moves))
            step = np.zeros(len(moves))
            step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
            size = 1.0
            while (after := total(np.clip(moves - size * step, low, high))) > value and size > TOLERANCE:
                size /= 2
            if not after <= value:
                break
            last, moves, value = moves, np.clip(moves - size * step, low, high), after
            if np.abs(moves - last).max() <= TOLERANCE * (1 + np.abs(moves).max()):
                break
        return moves

    def _weighted_slopes(self, moves: np.ndarray) -> np.ndarray:
        return self.weights[:, None] * self.loss.slopes(self.logits_at(moves), self.labels)


def _units(loss: LogitLoss, predictions: Sequence[Predictions]) -> list[Units]:
    return [units for batch in predictions if (units := loss.units(batch)) is not None]


def _logits(units: Sequence[Units]) -> np.ndarray:
    """All logits, of shape `(units, classes)`; −∞ where a micro-batch has fewer classes than another."""
    width = max(of_batch.logits.shape[1] for of_batch in units)
    padded = [
        np.pad(of_batch.logits, ((0, 0), (0, width - of_batch.logits.shape[1])), constant_values=-np.inf)
        for of_batch in units
    ]
    return np.concatenate(padded)
