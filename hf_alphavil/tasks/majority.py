"""What always answering the most frequent label scores: the least that a result must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..kinds import TaskKind
from .metrics import can_combine, compute_scores

#: The metrics of one answer for each row that need nothing but the labels.
METRICS_OF_ANSWERS = ("accuracy", "f1", "f1_micro", "f1_macro", "f1_weighted", "matthews_correlation")


def majority_scores(
    labels: Sequence[int], kind: TaskKind, metrics: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, float]:
    """
    Scores the most frequent label as the answer to all rows.

    Args:
        labels (`Sequence[int]`): The label id of each row.
        kind (`TaskKind`): The task's kind.
        metrics (`Sequence[str]`): The task's metrics. Those that are not in `METRICS_OF_ANSWERS` are left out.
        names (`Sequence[str]`, *optional*): The labels' names in id order.

    Returns:
        `dict[str, float]`: Scores by metric, with `combined_score` if the task has one and all its metrics are scored;
        empty if rows have no label, or not one of several.
    """
    if not kind.has_one_class or not len(labels) or min(labels) < 0:
        return {}
    scored = [metric for metric in metrics if metric in METRICS_OF_ANSWERS]
    ((answer, _),) = Counter(labels).most_common(1)
    logits = np.zeros((len(labels), max(max(labels) + 1, len(names or ()))))
    logits[:, answer] = 1
    scores = compute_scores(scored, kind, logits, labels, names)
    if can_combine(metrics) and len(scored) < len(metrics):
        scores.pop("combined_score", None)
    return scores
