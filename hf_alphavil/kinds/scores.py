"""How the predictions of a kind of task are scored and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .description import KindDescription
from .predictions import classification_predictions
from .spec import TaskSpec
from .submission_format import SubmissionFormat

if TYPE_CHECKING:
    from datasets import Dataset


class KindScores(KindDescription):
    """A kind's metrics and prediction files: a part of [`TaskKind`]."""

    #: Keys of `METRICS` that can score this kind, and those that are used by default.
    metrics: ClassVar[tuple[str, ...]]
    default_metrics: ClassVar[tuple[str, ...]]
    #: Whether there is something to predict for a test row.
    has_predictions: ClassVar[bool] = True

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        """
        Converts predictions and references to the form that a metric reads.

        Args:
            reads (`str`): What the metric reads, see [`PackagedMetric`].
            predictions (`np.ndarray`): The model's predictions, as in [`Task.compute_metrics`].
            references (`np.ndarray`): The labels.
            labels (`Sequence[str]`, *optional*): The labels' names in id order.

        Returns:
            `tuple`: Predictions and references, one of each per scored item.

        Raises:
            ValueError: If predictions have the wrong shape.
        """
        return classification_predictions(predictions), references.reshape(-1)

    def predicted_values(
        self,
        predictions: Any,
        names: Sequence[str | int],
        spec: TaskSpec,
        form: SubmissionFormat,
        tokenized: Dataset | None,
    ) -> list[Any]:
        """
        Finds the value that a prediction file holds for each row.

        Args:
            predictions (`np.ndarray`): Logits of shape `(rows, labels)` or label ids of shape `(rows,)`.
            names (`Sequence[str | int]`): What to write for each label id; nothing for a kind without classes.
            spec (`TaskSpec`): The task's settings.
            form (`SubmissionFormat`): The file's form.
            tokenized (`datasets.Dataset`, *optional*): The tokenised rows that were predicted.

        Raises:
            ValueError: If predictions cannot be written.
        """
        array = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
        ids = array if array.ndim == 1 else classification_predictions(array)
        for label in ids:
            if label != int(label) or not 0 <= label < len(names):
                raise ValueError(f"the prediction {label} is not an id from 0 to {len(names) - 1}")
        return [names[int(label)] for label in ids]

    def is_prediction(self, value: Any, names: Sequence[str | int], spec: TaskSpec) -> bool:
        """Whether a leaderboard accepts a value of a prediction file. `names` is as in [`predicted_values`]."""
        return any(type(value) is type(name) and value == name for name in names)

    def placeholder(self, names: Sequence[str | int], spec: TaskSpec, form: SubmissionFormat) -> Any:
        """A legal value for every row of a placeholder file, which predicts nothing."""
        return names[0]
