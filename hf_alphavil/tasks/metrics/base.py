"""The base class of the packaged metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np


class PackagedMetric:
    """
    A metric that needs no network, over `predictions` and `references` of shape `(rows,)`, or `(rows, labels)` with 1
    for labels that apply and 0 for others. [`evaluate_metric`] makes an `evaluate.Metric` of it.

    A subclass defines `_compute`. It imports there what it computes with, because not every run needs it.
    """

    description: ClassVar[str]
    #: Columns that the metric reads beside predictions and references. `compute` takes each as a keyword argument.
    columns: ClassVar[tuple[str, ...]] = ()
    greater_is_better: ClassVar[bool] = True
    #: What the metric reads as predictions: `"ids"`, `"scores"` (regression), `"margins"` (the logit of class 1 minus
    #: that of class 0) or `"tags"` (a list of label names for each row). A kind's `metric_inputs` makes them.
    reads: ClassVar[str] = "ids"
    #: Whether `compute` takes `num_labels`.
    reads_num_labels: ClassVar[bool] = False
    #: The method that computes: it takes predictions, references, and what else the metric reads.
    _compute: ClassVar[Callable[..., dict[str, float]]]

    def compute(self, predictions: Any, references: Any, **extra: Any) -> dict[str, float]:
        """
        Computes the metric.

        Args:
            predictions (`Sequence`): What `reads` says.
            references (`Sequence`): The same; label ids for margins.
            extra (`dict[str, Any]`): The metric's `columns`, and `num_labels` if it reads the number.

        Returns:
            `dict[str, float]`: The score by its name.
        """
        if self.reads != "tags":
            predictions = np.asarray(predictions, dtype=np.int64 if self.reads == "ids" else np.float64)
            references = np.asarray(references, dtype=np.float64 if self.reads == "scores" else np.int64)
        return self._compute(predictions, references, **extra)


def is_constant(values: Any) -> bool:
    """Whether all of `values`, one or more, are equal."""
    return all(value == values[0] for value in values)
