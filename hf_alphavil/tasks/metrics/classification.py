"""Metrics over predicted labels: accuracy, F1 in its averages, Matthews' correlation."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import PackagedMetric, is_constant


class Accuracy(PackagedMetric):
    """
    The share of predictions that equal their reference.

    In token classification, it is the share of words; in masked language modelling, of masked tokens. In multi-label
    classification, it is the share of rows whose labels are all right (subset accuracy).
    """

    description = "Accuracy"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(PackagedMetric):
    """
    F1 of class 1 if there are two labels, as in MRPC, else the mean of every class's F1, as in CB.

    A class that is in neither predictions nor references counts as 0, as in SuperGLUE's own scorer.
    """

    description = "F1: binary for two labels, macro for more"
    reads_num_labels = True

    def _compute(self, predictions: Any, references: Any, num_labels: int = 2) -> dict[str, float]:
        from sklearn.metrics import f1_score

        labels = [1] if num_labels == 2 else list(range(num_labels))
        return {"f1": float(f1_score(references, predictions, labels=labels, average="macro", zero_division=0))}


class AveragedF1(PackagedMetric):
    """
    F1 with one of scikit-learn's averages over all labels. A label that occurs nowhere counts as 0.

    Rows have one label or any number. With one label, the micro average equals the accuracy.
    """

    average: ClassVar[str]
    reads_num_labels = True

    def _compute(self, predictions: Any, references: Any, num_labels: int) -> dict[str, float]:
        from sklearn.metrics import f1_score

        labels = list(range(num_labels))
        score = f1_score(references, predictions, labels=labels, average=self.average, zero_division=0)
        return {f"f1_{self.average}": float(score)}


class F1Micro(AveragedF1):
    """F1 over all decisions of all labels together."""

    description, average = "F1, micro average", "micro"


class F1Macro(AveragedF1):
    """The mean of the labels' F1."""

    description, average = "F1, macro average", "macro"


class F1Weighted(AveragedF1):
    """The mean of the labels' F1, weighted by their shares of the references."""

    description, average = "F1, weighted by support", "weighted"


class MatthewsCorrelation(PackagedMetric):
    """Matthews' correlation coefficient; 0 for constant predictions or references."""

    description = "Matthews' correlation coefficient"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        if is_constant(predictions) or is_constant(references):
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}
