"""The metrics of all kinds of task as `evaluate.Metric` classes that need no network."""

from .base import PackagedMetric
from .groups import rows_by_group
from .scores import METRICS, can_combine, columns_of, compute_scores, score_directions

__all__ = [
    "METRICS",
    "PackagedMetric",
    "can_combine",
    "columns_of",
    "compute_scores",
    "rows_by_group",
    "score_directions",
]
