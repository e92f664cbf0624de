"""The metrics of all kinds of task computed with scikit-learn and SciPy, without a network."""

from .base import PackagedMetric
from .evaluate_metric import evaluate_metric
from .groups import rows_by_group
from .scores import METRICS, can_combine, columns_of, compute_scores, score_directions

__all__ = [
    "METRICS",
    "PackagedMetric",
    "can_combine",
    "columns_of",
    "compute_scores",
    "evaluate_metric",
    "rows_by_group",
    "score_directions",
]
