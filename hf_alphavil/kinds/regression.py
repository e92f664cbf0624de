"""Regression: a number for a text or a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import PreTrainedConfig

from .labels import LabelReader
from .loss_labels import finite_scores
from .predictions import check_finite, regression_predictions
from .sequence_classification import SequenceClassification
from .spec import TaskSpec
from .submission_format import SubmissionFormat

if TYPE_CHECKING:
    from datasets import Dataset

#: The largest float32. Scores are float32, so a larger score would become infinity and make the loss NaN.
MAX_SCORE = (2 - 2**-23) * 2.0**127


class Regression(SequenceClassification):
    """One number for each row: a sequence classifier with one output and a squared error."""

    name = "regression"
    problem_types = ("regression",)
    metrics = ("pearson", "spearmanr", "mean_squared_error", "mean_absolute_error")
    default_metrics = ("pearson", "spearmanr")
    has_classes = False
    has_one_class = False
    learns_labels = False

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is not None and len(labels) != 1:
            raise ValueError(f"regression has one output: labels must be None or one name, got {labels}")
        if problem_type not in (None, "regression"):
            raise ValueError(f"problem_type must be 'regression' or None, got {problem_type!r}")
        return "regression"

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        super().configure(config, labels or ["LABEL_0"], problem_type)

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> float:
        low, high = spec.score_range if spec.score_range is not None else (-MAX_SCORE, MAX_SCORE)
        try:
            score = float(value) if type(value) is not bool and "_" not in str(value) else math.nan  # "1_0" is no 10
        except (TypeError, ValueError, OverflowError):
            score = math.nan
        if not (abs(score) <= MAX_SCORE and low <= score <= high):
            raise ValueError(f"the label {value!r:.80} is not a number from {low:g} to {high:g}.")
        return score

    def label_feature(self, labels: Sequence[str] | None) -> Any:
        from datasets import Value

        return Value("float32")

    def check_label(self, label: Any, num_labels: int | None) -> None:
        if not isinstance(label, (int, float)) or not math.isfinite(label):
            raise ValueError("is not a finite number")

    def encode_label(self, label: Any, num_labels: int | None) -> float:
        return float(label)

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        return finite_scores(labels, math.prod(shape[:-1]))

    def label_smoother(self, smoother: Any, inputs: Mapping[str, Any]) -> None:
        return None

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        return regression_predictions(predictions), references.reshape(-1)

    def predicted_values(
        self,
        predictions: Any,
        names: Sequence[str | int],
        spec: TaskSpec,
        form: SubmissionFormat,
        tokenized: Dataset | None,
    ) -> list[Any]:
        scores = check_finite(regression_predictions(predictions))
        if spec.score_range is not None:
            scores = scores.clip(*spec.score_range)
        return [f"{score:.{form.decimals}f}" for score in scores]

    def is_prediction(self, value: Any, names: Sequence[str | int], spec: TaskSpec) -> bool:
        low, high = spec.score_range if spec.score_range is not None else (-math.inf, math.inf)
        try:
            return low <= float(value) <= high
        except ValueError:
            return False

    def placeholder(self, names: Sequence[str | int], spec: TaskSpec, form: SubmissionFormat) -> str:
        lowest = spec.score_range[0] if spec.score_range is not None else 0.0
        return f"{lowest:.{form.decimals}f}"

    def label_in_words(self, label: Any, labels: Sequence[str] | None) -> str:
        return f"score {label:g}"

    def labels_summary(self, values: Sequence[Any]) -> str:
        scores = np.asarray(values)
        return f"  scores   {scores.min():g} to {scores.max():g}, mean {scores.mean():.3g}"
