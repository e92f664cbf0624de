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
    F1 of class 1 if there are two labels, as in MRPC, else the mean of the classes' F1 ([`F1Macro`]), as in CB.

    SuperGLUE's own scorer counts a class that is in neither predictions nor references as 0. CB has rows of every
    class, so that its score is the same.
    """

    description = "F1: binary for two labels, macro for more"
    reads_num_labels = True

    def _compute(self, predictions: Any, references: Any, num_labels: int = 2) -> dict[str, float]:
        from sklearn.metrics import f1_score

        labels = [1] if num_labels == 2 else None
        return {"f1": float(f1_score(references, predictions, labels=labels, average="macro", zero_division=0))}


class AveragedF1(PackagedMetric):
    """
    F1 with one of scikit-learn's averages, over the labels in predictions or references.

    Rows have one label or any number. With one label, the micro average equals the accuracy. With any number, all
    labels of the task are averaged, and one that occurs nowhere counts as 0.
    """

    average: ClassVar[str]

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import f1_score

        score = f1_score(references, predictions, average=self.average, zero_division=0)
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
