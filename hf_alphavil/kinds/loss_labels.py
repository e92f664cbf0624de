"""Labels of tokenised rows, in the types that the losses of heads take."""

from __future__ import annotations

import math

import numpy as np

from .predictions import IGNORED


def class_ids(labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
    """
    Converts ids of any integer type, or truth values, to int64.

    Args:
        labels (`np.ndarray`): The labels, -100 where the loss ignores them.
        shape (`tuple[int, ...]`): The shape that they need. A single id may also be a list of one.
        num_labels (`int`): The number of labels.

    Raises:
        ValueError: If a value is not an id, or if there are more or fewer ids.
    """
    if labels.dtype.kind not in "iub":
        raise ValueError(f"pass ids, which are integers from 0 to {num_labels - 1}")
    if labels.size != math.prod(shape):
        raise ValueError(f"pass one id from 0 to {num_labels - 1}")
    ids = labels.astype(np.int64)
    wrong = ids[((ids < 0) | (ids >= num_labels)) & (ids != IGNORED)]
    if wrong.size:
        raise ValueError(
            f"{wrong[0]} is not an id from 0 to {num_labels - 1}. Pass such ids, {IGNORED} where the loss should "
            "ignore a label, and no labels in rows to predict"
        )
    return ids


def finite_scores(labels: np.ndarray, num_rows: int) -> np.ndarray:
    """
    Converts numbers of any type to float32.

    Args:
        labels (`np.ndarray`): The labels.
        num_rows (`int`): The number of rows. Each has one.

    Raises:
        ValueError: If a value is not a finite number, or if there are more or fewer numbers.
    """
    if labels.dtype.kind not in "iuf":
        raise ValueError("pass a number")
    if labels.size != num_rows:
        raise ValueError("pass one number for each row")
    with np.errstate(over="ignore"):
        numbers = labels.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("pass a finite number")
    return numbers


def flags(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """
    Converts flags of any type to float32.

    Args:
        labels (`np.ndarray`): A flag for each label, or its probability.
        shape (`tuple[int, ...]`): The shape that they need.

    Raises:
        ValueError: If a value is not from 0 to 1, or if there are more or fewer values.
    """
    if labels.dtype.kind not in "iufb" or labels.shape != shape or not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(f"pass a list of {shape[-1]} flags, 0 or 1 for each of the head's labels")
    return labels.astype(np.float32)
