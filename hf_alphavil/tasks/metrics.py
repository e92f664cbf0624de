"""GLUE's and SuperGLUE's metrics as `evaluate.Metric` classes that need no network."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


class _PackagedMetric(evaluate.Metric):
    """A metric over `predictions` and `references`, both of shape `(rows,)`: ids, or floats for regression."""

    description: ClassVar[str]
    #: The kinds of task that it scores; several labels at once are `"multi_label_classification"`.
    kinds: ClassVar[tuple[str, ...]] = ("sequence_classification", "multiple_choice")
    #: Columns that it reads beside predictions and references.
    columns: ClassVar[tuple[str, ...]] = ()
    greater_is_better: ClassVar[bool] = True

    def __init__(self, **kwargs: Any) -> None:
        # In memory: metric files on disk, with locks and a shared name, are where parallel runs collide.
        kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value("float64" if "regression" in self.kinds else "int64")
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            inputs_description="predictions and references, both of shape `(rows,)`",
            features=datasets.Features({"predictions": value, "references": value}),
        )


class Accuracy(_PackagedMetric):
    """The share of predictions that equal their reference."""

    description = "Accuracy"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(_PackagedMetric):
    """
    F1 of class 1 where there are two labels, as MRPC wants, else the mean of every class's F1, as CB wants.

    A class that neither predictions nor references hold counts as 0, as in SuperGLUE's own scorer.
    """

    description = "F1: binary for two labels, macro for more"

    def _compute(self, predictions: Any, references: Any, num_labels: int = 2) -> dict[str, float]:
        labels = [1] if num_labels == 2 else list(range(num_labels))
        return {"f1": float(f1_score(references, predictions, labels=labels, average="macro", zero_division=0))}


class MatthewsCorrelation(_PackagedMetric):
    """Matthews' correlation coefficient; 0 for constant predictions or references."""

    description = "Matthews' correlation coefficient"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        if _is_constant(predictions) or _is_constant(references):
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}


class Pearson(_PackagedMetric):
    """Pearson's correlation coefficient; 0 for constant predictions or references."""

    description = "Pearson's correlation coefficient"
    kinds = ("regression",)

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"pearson": _correlation(pearsonr, predictions, references)}


class SpearmanR(_PackagedMetric):
    """Spearman's rank correlation coefficient; 0 for constant predictions or references."""

    description = "Spearman's rank correlation coefficient"
    kinds = ("regression",)

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"spearmanr": _correlation(spearmanr, predictions, references)}


METRICS: dict[str, type[_PackagedMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews_correlation": MatthewsCorrelation,
    "pearson": Pearson,
    "spearmanr": SpearmanR,
}


def _is_constant(values: Any) -> bool:
    values = np.asarray(values)
    return bool((values == values[0]).all())


def _correlation(function: Any, predictions: Any, references: Any) -> float:
    predictions, references = np.asarray(predictions), np.asarray(references)
    if not np.isfinite(predictions).all():
        return float("nan")  # a diverged model: no score rather than a wrong one
    # Undefined where one side does not vary. 0, "no relation", and not NaN: a NaN first score would win the choice of
    # the best model for good, since no later score compares greater.
    if _is_constant(predictions) or _is_constant(references):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input
        score = float(function(predictions, references)[0])
    return score if np.isfinite(score) else 0.0


def _first(predictions: Any) -> np.ndarray:
    # A model with more outputs than logits hands over a tuple, logits first.
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def classification_predictions(predictions: Any) -> np.ndarray:
    """The predicted ids, shape `(rows,)`, of logits `(rows, labels)`, alone or first in a tuple."""
    logits = _first(predictions)
    if logits.ndim != 2:
        raise ValueError(f"expected logits of shape (rows, labels), got {logits.shape}")
    # argmax refuses rows of no length, which empty predictions may be.
    return logits.argmax(axis=-1) if len(logits) else np.zeros(0, dtype=np.int64)


def regression_predictions(predictions: Any) -> np.ndarray:
    """The predicted scores, float64 of shape `(rows,)`, of `(rows, 1)` or `(rows,)`, alone or first in a tuple."""
    scores = _first(predictions).astype(np.float64)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 1:
        raise ValueError(f"expected scores of shape (rows,) or (rows, 1), got {scores.shape}")
    return scores


def compute_scores(
    names: tuple[str, ...], predictions: np.ndarray, references: Any, num_labels: int
) -> dict[str, float]:
    """
    The named metrics, and `combined_score`, their mean, where there are several.

    Args:
        names (`tuple[str, ...]`):
            Keys of `METRICS`.
        predictions (`np.ndarray` of shape `(rows,)`):
            Label ids, or scores for regression.
        references (`np.ndarray` of shape `(rows,)` or `(rows, 1)`):
            The true ones.
        num_labels (`int`):
            Number of labels; not read for regression.

    Returns:
        `dict[str, float]`: NaN throughout when there are no rows.
    """
    references = np.asarray(references).reshape(-1)
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
    scores: dict[str, float] = {}
    for name in names:
        if not len(references):
            scores[name] = float("nan")
            continue
        extra = {"num_labels": num_labels} if name == "f1" else {}
        scores.update(METRICS[name]().compute(predictions=predictions, references=references, **extra))
    if len(scores) > 1:
        scores["combined_score"] = float(np.mean(list(scores.values())))
    return scores
