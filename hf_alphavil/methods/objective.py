"""What a method may measure: the objectives of tasks, as protocols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ..distributed.gradient_exchange import Gradient

#: A linear map from gradients, one per parameter or `None`, to one tensor.
Products = Callable[[Sequence[Tensor | None]], Tensor]


@dataclass(frozen=True)
class Predictions:
    """
    A model's outputs on one micro-batch of rows.

    Args:
        rows (`Sequence[int]`): The rows.
        logits (`np.ndarray` of shape `(rows, ...)`): Their logits.
        labels (`np.ndarray` of shape `(rows, ...)`): Their labels.
        loss (`float`): The model's own mean loss.
    """

    rows: Sequence[int]
    logits: np.ndarray
    labels: np.ndarray
    loss: float


def mean_loss(batches: Sequence[Predictions]) -> float:
    """`float`: The model's own mean loss over the rows of micro-batches."""
    num_rows = sum(len(batch.rows) for batch in batches)
    return math.fsum(batch.loss * len(batch.rows) for batch in batches) / num_rows


class Objective(Protocol):
    """A task on a set of rows, at the model's current parameters, without dropout. Values are equal on all ranks."""

    @property
    def num_rows(self) -> int:
        """Rows of the set."""
        ...

    @property
    def has_metric(self) -> bool:
        """Whether the score is a metric. Otherwise it is minus the loss."""
        ...

    def loss(self, rows: Sequence[int]) -> float:
        """Mean loss over rows: lower is better."""
        ...

    def loss_and_products(self, rows: Sequence[int], products: Products) -> tuple[float, Tensor]:
        """Mean loss over rows, and `products(gradient of that loss)` on the CPU."""
        ...

    def loss_and_gradient(self, rows: Sequence[int], wanted: Sequence[int] | None = None) -> tuple[float, Gradient]:
        """Mean loss over rows and its gradient, for all parameters or for those with the indices in `wanted`."""
        ...

    def score(self, rows: Sequence[int]) -> float:
        """The task's main metric over rows, or minus the loss if the task has no metric: greater is better."""
        ...

    def predictions(self, rows: Sequence[int]) -> list[Predictions]:
        """Logits, labels and loss of the micro-batches of rows, equal on all ranks."""
        ...


class Objectives(Protocol):
    """The objectives that a run offers its method."""

    @property
    def meta(self) -> Objective:
        """The target on the meta set, for methods with `needs_meta_set`."""
        ...

    def meta_entropy(self) -> Objective:
        """The target on the meta set, with the entropy of its predictions as the loss. Labels are not read."""
        ...

    def meta_halves(self) -> tuple[list[int], list[int]]:
        """Two halves of the meta set's rows, each in ascending order."""
        ...

    def training(self, task: str) -> Objective:
        """A task on its training rows."""
        ...
