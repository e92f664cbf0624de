"""Computes the scores of one task's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kinds import TaskKind
from .base import PackagedMetric
from .classification import F1, Accuracy, F1Macro, F1Micro, F1Weighted, MatthewsCorrelation
from .groups import ExactMatch, F1OverAnswers, GenderParity
from .record import RecordExactMatch, RecordF1
from .regression import MeanAbsoluteError, MeanSquaredError, Pearson, SpearmanR
from .spans import SpanF1

if TYPE_CHECKING:
    from datasets import Dataset

METRICS: dict[str, type[PackagedMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "f1_micro": F1Micro,
    "f1_macro": F1Macro,
    "f1_weighted": F1Weighted,
    "matthews_correlation": MatthewsCorrelation,
    "pearson": Pearson,
    "spearmanr": SpearmanR,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "f1a": F1OverAnswers,
    "exact_match": ExactMatch,
    "record_f1": RecordF1,
    "record_em": RecordExactMatch,
    "gender_parity": GenderParity,
    "span_f1": SpanF1,
}


def can_combine(names: Sequence[str]) -> bool:
    """Whether these metrics have a meaningful mean: there are several, all with the same direction."""
    return len(names) > 1 and len({METRICS[name].greater_is_better for name in names}) == 1


def score_directions(names: Sequence[str]) -> dict[str, bool]:
    """
    The scores that metrics give, in the order of [`compute_scores`], and whether a greater score is better.

    Args:
        names (`Sequence[str]`): Keys of `METRICS`.
    """
    directions = {name: METRICS[name].greater_is_better for name in names}
    return directions | ({"combined_score": directions[names[0]]} if can_combine(names) else {})


def columns_of(names: Sequence[str]) -> list[str]:
    """The columns that these metrics read beside predictions and references, such as a question's id."""
    return list(dict.fromkeys(column for name in names for column in METRICS[name].columns))


def compute_scores(
    names: Sequence[str],
    kind: TaskKind,
    predictions: Any,
    references: Any,
    labels: Sequence[str] | None = None,
    rows: Dataset | Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, float]:
    """
    Computes metrics and, if there are several that can be combined, their mean `combined_score`.

    Args:
        names (`Sequence[str]`):
            Keys of `METRICS`.
        kind (`TaskKind`):
            The task's kind.
        predictions, references (`np.ndarray`):
            As in [`Task.compute_metrics`].
        labels (`Sequence[str]`, *optional*):
            Label names in id order, if the kind has them.
        rows (`datasets.Dataset` or `dict[str, Sequence]`, *optional*):
            The predicted rows, with the columns that the metrics read.

    Returns:
        `dict[str, float]`: NaN throughout when there are no rows.

    Raises:
        ValueError: If predictions have the wrong shape, or the numbers of predictions, references and rows differ.
    """
    scores: dict[str, float] = {}
    for name in names:
        metric = METRICS[name]
        predicted, wanted = kind.metric_inputs(metric.reads, predictions, np.asarray(references), labels)
        if len(predicted) != len(wanted):
            raise ValueError(f"{len(predicted)} predictions but {len(wanted)} references")
        if not len(wanted):
            scores[name] = float("nan")
            continue
        extra: dict[str, Any] = {"num_labels": len(labels or ())} if metric.reads_num_labels else {}
        extra |= _columns(name, rows, len(wanted))
        scores.update(metric().compute(predicted, wanted, **extra))
    if can_combine(names):
        scores["combined_score"] = float(np.mean(list(scores.values())))
    return scores


def _columns(name: str, rows: Dataset | Mapping[str, Sequence[Any]] | None, number: int) -> dict[str, Sequence[Any]]:
    """The columns of `rows` that a metric reads."""
    wanted = METRICS[name].columns
    if not wanted:
        return {}
    if rows is None:
        raise ValueError(f"the metric {name!r} reads the columns {', '.join(wanted)}; pass rows, what was predicted")
    present = rows if isinstance(rows, Mapping) else rows.column_names
    missing = [column for column in wanted if column not in present]
    if missing:
        raise ValueError(f"the metric {name!r} reads the columns {', '.join(missing)}, which the rows lack")
    values = {column: rows[column][:] for column in wanted}
    for column in values.values():
        if len(column) != number:
            raise ValueError(f"{number} predictions but {len(column)} rows; pass what was predicted, row by row")
    return values
