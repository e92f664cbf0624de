"""The scale of a regression's labels: their mean and spread."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class LabelScale:
    """
    Mean and spread of a regression's labels. Standardised labels, (y − mean) / spread, have mean 0 and variance 1.

    Args:
        mean (`float`): The labels' mean.
        spread (`float`): The labels' standard deviation, above 0.
    """

    mean: float
    spread: float

    def loss(self, loss: Tensor) -> Tensor:
        """`torch.Tensor`: The squared error of standardised labels, given that of labels."""
        return loss / self.spread**2

    def standardized(self, values: np.ndarray) -> np.ndarray:
        """`np.ndarray`: Labels or predictions on the scale of standardised labels, float64."""
        return (values.astype(np.float64) - self.mean) / self.spread


def scale_of(labels: Iterable[Any]) -> LabelScale | None:
    """
    The scale of labels.

    Args:
        labels (`Iterable[Any]`): Numbers, or arrays or tensors of one number.

    Returns:
        `LabelScale`, *optional*: The scale, equal on all machines; `None` if labels are all equal or not finite.
    """
    values = [np.asarray(label, dtype=np.float64).item() for label in labels]
    if not all(map(math.isfinite, values)) or len(set(values)) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return LabelScale(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)))
