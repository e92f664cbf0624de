"""From what a model gives out to what metrics and submissions read."""

from __future__ import annotations

from typing import Any

import numpy as np

IGNORED = -100  # the label of a token of which nothing is to be predicted


def first_output(predictions: Any) -> np.ndarray:
    """The logits of a model's output, alone or first in a tuple."""
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def classification_predictions(predictions: Any) -> np.ndarray:
    """The predicted ids, shape `(rows,)`, of logits `(rows, labels)`, alone or first in a tuple."""
    logits = _logits(predictions)
    # argmax refuses rows of no length, which empty predictions may be.
    return logits.argmax(axis=-1) if len(logits) else np.zeros(0, dtype=np.int64)


def multi_label_predictions(predictions: Any) -> np.ndarray:
    """The labels that apply, 0 or 1, shape `(rows, labels)`: those whose logit is above 0."""
    return (_logits(predictions) > 0).astype(np.int64)


def margin_predictions(predictions: Any) -> np.ndarray:
    """How much more class 1 is believed than class 0, float64 of shape `(rows,)`, of logits `(rows, 2)`."""
    logits = _logits(predictions).astype(np.float64)
    if not len(logits):
        return np.zeros(0)
    if logits.shape[1] != 2:
        raise ValueError(f"expected logits of shape (rows, 2), got {logits.shape}")
    return logits[:, 1] - logits[:, 0]


def regression_predictions(predictions: Any) -> np.ndarray:
    """The predicted scores, float64 of shape `(rows,)`, of `(rows, 1)` or `(rows,)`, alone or first in a tuple."""
    scores = first_output(predictions).astype(np.float64)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 1:
        raise ValueError(f"expected scores of shape (rows,) or (rows, 1), got {scores.shape}")
    return scores


def token_predictions(predictions: Any) -> np.ndarray:
    """The predicted ids, shape `(rows, tokens)`, of ids of that shape or of logits `(rows, tokens, labels)`."""
    ids = first_output(predictions)
    if ids.ndim == 3:
        ids = ids.argmax(axis=-1) if ids.size else np.zeros(ids.shape[:2], dtype=np.int64)
    if ids.ndim != 2:
        raise ValueError(
            f"expected ids of shape (rows, tokens) or logits of shape (rows, tokens, labels), got {ids.shape}"
        )
    return ids


def _logits(predictions: Any) -> np.ndarray:
    logits = first_output(predictions)
    if logits.ndim != 2:
        raise ValueError(f"expected logits of shape (rows, labels), got {logits.shape}")
    return logits
