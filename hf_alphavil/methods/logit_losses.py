"""The losses that are convex in a target's logits, and how a model's own loss is recognised as one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..kinds.predictions import IGNORED
from .objective import Predictions


@dataclass(frozen=True)
class Units:
    """
    What a loss is the mean over: labels and the logits that each depends on.

    Args:
        logits (`np.ndarray` of shape `(units, classes)`): The logits, float64.
        labels (`np.ndarray` of shape `(units,)`): The labels.
        rows (`np.ndarray` of shape `(units,)`): The meta row of each unit.
    """

    logits: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


class LogitLoss(ABC):
    """A loss per unit, convex in the unit's logits."""

    #: The loss in messages.
    words: ClassVar[str]

    @abstractmethod
    def units(self, batch: Predictions) -> Units | None:
        """The units of a micro-batch, or `None` if its logits and labels do not fit the loss."""

    @abstractmethod
    def values(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The loss of each unit, of shape `(units,)`."""

    @abstractmethod
    def slopes(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The derivatives with respect to the logits, of shape `(units, classes)`."""

    @abstractmethod
    def curvature(self, logits: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """
        The weighted sum over units of d'Hd for each pair of directions.

        Args:
            logits (`np.ndarray` of shape `(units, classes)`): Where the second derivatives H are taken.
            directions (`np.ndarray` of shape `(directions, units, classes)`): The directions d.
            weights (`np.ndarray` of shape `(units,)`): The weights.

        Returns:
            `np.ndarray`: Of shape `(directions, directions)`.
        """

    def is_loss_of(self, batch: Predictions) -> bool:
        """Whether the model's own loss of a micro-batch is the mean over its units. A loss that is NaN may be any."""
        units = self.units(batch)
        if units is None or not np.isfinite(batch.loss):
            return units is not None
        value = self.values(units.logits, units.labels).mean() if len(units.labels) else np.nan
        return bool(np.isclose(value, batch.loss, rtol=1e-4, atol=1e-5))


class CrossEntropy(LogitLoss):
    """−log softmax(z)_y for a class y. Labels of −100 have no unit."""

    words = "the cross-entropy of classes"

    def units(self, batch: Predictions) -> Units | None:
        logits, labels = batch.logits, batch.labels
        if labels.dtype.kind not in "iu" or logits.ndim < 2 or labels.size * logits.shape[-1] != logits.size:
            return None
        counted, classes = labels.reshape(-1) != IGNORED, labels.reshape(-1)
        in_range = (classes >= 0) & (classes < logits.shape[-1])
        if not in_range[counted].all():
            return None
        of_classes = logits.reshape(-1, logits.shape[-1])[counted].astype(np.float64)
        return Units(of_classes, classes[counted], np.repeat(batch.rows, labels.size // len(batch.rows))[counted])

    def values(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(labels)), labels]

    def slopes(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        slopes = _softmax(logits)
        slopes[np.arange(len(labels)), labels] -= 1
        return slopes

    def curvature(self, logits: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        probabilities = _softmax(logits)
        centred = directions - (probabilities * directions).sum(axis=-1, keepdims=True)
        return _gram(centred, probabilities * weights[:, None])


class _Elementwise(LogitLoss):
    """A loss of each logit and a label of its own: every logit is a unit."""

    def units(self, batch: Predictions) -> Units | None:
        if batch.labels.dtype.kind != "f" or batch.labels.size != batch.logits.size:
            return None
        rows = np.repeat(batch.rows, batch.labels.size // len(batch.rows))
        return Units(batch.logits.reshape(-1, 1).astype(np.float64), batch.labels.reshape(-1).astype(np.float64), rows)


class SquaredError(_Elementwise):
    """(z − y)², the loss of regression."""

    words = "the squared error"

    def values(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return (logits[:, 0] - labels) ** 2

    def slopes(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return 2 * (logits - labels[:, None])

    def curvature(self, logits: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return _gram(directions, 2 * weights[:, None])


class BinaryCrossEntropy(_Elementwise):
    """log(1 + exp z) − y·z, the loss of multi-label classification."""

    words = "the binary cross-entropy of flags"

    def values(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, logits[:, 0]) - labels * logits[:, 0]

    def slopes(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return _sigmoid(logits) - labels[:, None]

    def curvature(self, logits: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        probabilities = _sigmoid(logits)
        return _gram(directions, probabilities * (1 - probabilities) * weights[:, None])


LOSSES: tuple[LogitLoss, ...] = (CrossEntropy(), SquaredError(), BinaryCrossEntropy())


def recognize_loss(batches: Sequence[Predictions]) -> LogitLoss | None:
    """
    Finds the convex loss that a model computes, by its value.

    Args:
        batches (`Sequence[Predictions]`): Logits, labels and the model's own loss.

    Returns:
        `LogitLoss`, *optional*: The loss whose mean equals the model's own in every micro-batch, up to rounding.
    """
    return next((loss for loss in LOSSES if all(loss.is_loss_of(batch) for batch in batches)), None)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))


def _gram(directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ weights·d·d' over units and classes, for each pair of directions."""
    flat = directions.reshape(len(directions), -1)
    return (directions * weights).reshape(flat.shape) @ flat.T
