"""Converts a model's outputs to what metrics and prediction files read."""

from __future__ import annotations

from typing import Any

import numpy as np

#: The label of a token with nothing to predict. Losses and metrics ignore it.
IGNORED = -100


def first_output(predictions: Any) -> np.ndarray:
    """The first of a model's outputs, its logits. The outputs are a tuple or a single array."""
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def classification_predictions(predictions: Any) -> np.ndarray:
    """The predicted ids, shape `(rows,)`, from logits `(rows, labels)` or a tuple that starts with them."""
    logits = _logits(predictions)
    # Empty predictions may have rows of length 0, which argmax refuses.
    return logits.argmax(axis=-1) if len(logits) else np.zeros(0, dtype=np.int64)


def multi_label_predictions(predictions: Any) -> np.ndarray:
    """The labels that apply, 0 or 1, shape `(rows, labels)`: those whose logit is above 0."""
    return (_logits(predictions) > 0).astype(np.int64)


def margin_predictions(predictions: Any) -> np.ndarray:
    """The logit of class 1 minus that of class 0, float64 of shape `(rows,)`, from logits `(rows, 2)`."""
    logits = _logits(predictions).astype(np.float64)
    if not len(logits):
        return np.zeros(0)
    if logits.shape[1] != 2:
        raise ValueError(f"expected logits of shape (rows, 2), got {logits.shape}")
    return logits[:, 1] - logits[:, 0]


def regression_predictions(predictions: Any) -> np.ndarray:
    """The predicted scores, float64 `(rows,)`, from scores `(rows, 1)` or `(rows,)` or a tuple with them first."""
    scores = first_output(predictions).astype(np.float64)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 1:
        raise ValueError(f"expected scores of shape (rows,) or (rows, 1), got {scores.shape}")
    return scores


def token_predictions(predictions: Any) -> np.ndarray:
    """The predicted ids, shape `(rows, tokens)`, from ids of that shape or logits `(rows, tokens, labels)`."""
    ids = first_output(predictions)
    if ids.ndim == 3:
        ids = ids.argmax(axis=-1) if ids.size else np.zeros(ids.shape[:2], dtype=np.int64)
    if ids.ndim != 2:
        raise ValueError(
            f"expected ids of shape (rows, tokens) or logits of shape (rows, tokens, labels), got {ids.shape}"
        )
    return ids


def check_finite(scores: np.ndarray) -> np.ndarray:
    """
    Returns the scores if all of them are finite.

    Raises:
        ValueError: If a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a prediction is not a finite number: has training diverged?")
    return scores


def scored_tokens(predictions: Any, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Predicted ids of tokens, and which of them are scored.

    Args:
        predictions (`np.ndarray`): Ids of shape `(rows, tokens)` or logits of shape `(rows, tokens, labels)`.
        references (`np.ndarray`): Ids of shape `(rows, tokens)`, -100 where nothing is scored.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Ids and booleans of shape `(rows, tokens)`.

    Raises:
        ValueError: If predictions and references differ in their number of rows.
    """
    predicted = token_predictions(predictions)
    if len(predicted) != len(references):
        raise ValueError(f"{len(predicted)} predictions but {len(references)} references")
    return predicted, references != IGNORED


def _logits(predictions: Any) -> np.ndarray:
    logits = first_output(predictions)
    if logits.ndim != 2:
        raise ValueError(f"expected logits of shape (rows, labels), got {logits.shape}")
    return logits
