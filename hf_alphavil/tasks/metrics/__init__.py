"""The metrics of all kinds of task as `evaluate.Metric` classes that need no network."""

from .base import PackagedMetric
from .groups import rows_by_group
from .predictions import (
    classification_predictions,
    margin_predictions,
    multi_label_predictions,
    regression_predictions,
    token_predictions,
)
from .scores import METRICS, can_combine, compute_scores

__all__ = [
    "METRICS",
    "PackagedMetric",
    "can_combine",
    "classification_predictions",
    "compute_scores",
    "margin_predictions",
    "multi_label_predictions",
    "regression_predictions",
    "rows_by_group",
    "token_predictions",
]
