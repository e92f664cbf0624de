"""Metrics over predicted scores: the two correlations and the two errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .base import PackagedMetric, is_constant


class RegressionMetric(PackagedMetric):
    """A metric over floats. If the model has diverged, it is NaN: no score instead of a wrong one."""

    reads = "scores"


class Pearson(RegressionMetric):
    """Pearson's correlation coefficient; 0 for constant predictions or references."""

    description = "Pearson's correlation coefficient"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from scipy.stats import pearsonr

        return {"pearson": _correlation(pearsonr, predictions, references)}


class SpearmanR(RegressionMetric):
    """Spearman's rank correlation coefficient; 0 for constant predictions or references."""

    description = "Spearman's rank correlation coefficient"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from scipy.stats import spearmanr

        return {"spearmanr": _correlation(spearmanr, predictions, references)}


class MeanSquaredError(RegressionMetric):
    """The mean of the squared differences; smaller is better."""

    description = "Mean squared error"
    greater_is_better = False

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import mean_squared_error

        return {"mean_squared_error": _error(mean_squared_error, predictions, references)}


class MeanAbsoluteError(RegressionMetric):
    """The mean of the absolute differences; smaller is better."""

    description = "Mean absolute error"
    greater_is_better = False

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import mean_absolute_error

        return {"mean_absolute_error": _error(mean_absolute_error, predictions, references)}


def _error(function: Any, predictions: Any, references: Any) -> float:
    return float(function(references, predictions)) if np.isfinite(predictions).all() else float("nan")


def _correlation(function: Any, predictions: Any, references: Any) -> float:
    if not np.isfinite(predictions).all():
        return float("nan")
    # The correlation is undefined if one side does not vary. It is set to 0 ("no relation"), because a first score of
    # NaN would stay the best: no later score compares greater.
    if is_constant(predictions) or is_constant(references):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input
        score = float(function(predictions, references)[0])
    return score if np.isfinite(score) else 0.0
