"""Sequence classification: a label, or any number of labels, for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedConfig, PreTrainedModel

from .base import TaskKind
from .heads import native_class_in, set_labels
from .labels import LabelReader, is_id, split_list
from .loss_labels import class_ids, flags
from .predictions import check_finite, classification_predictions, margin_predictions, multi_label_predictions
from .spec import TaskSpec
from .submission_format import SubmissionFormat

if TYPE_CHECKING:
    from datasets import Dataset

MULTI_LABEL = "multi_label_classification"


class SequenceClassification(TaskKind):
    """One of at least two labels for each row; with the other problem type [`MultiLabelClassification`]."""

    name = "sequence_classification"
    problem_types: ClassVar[tuple[str | None, ...]] = ("single_label_classification", MULTI_LABEL)
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted", "matthews_correlation", "f1a", "exact_match",
        "record_f1", "record_em", "gender_parity",
    )  # fmt: skip
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    has_one_class = True
    hub_task = "text-classification"
    pipeline_options: ClassVar[str] = ", truncation=True"

    def of_problem_type(self, problem_type: str | None) -> TaskKind:
        return (
            MULTI_LABEL_CLASSIFICATION if problem_type == MULTI_LABEL and MULTI_LABEL in self.problem_types else self
        )

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is None or len(labels) < 2:
            raise ValueError(
                f"classification needs at least two labels, got {labels}; for one number per example use the kind "
                "'regression'"
            )
        # Always set, because native models would otherwise guess the type from their first batch and keep the guess.
        problem_type = problem_type or "single_label_classification"
        if problem_type not in self.problem_types:
            raise ValueError(f"problem_type must be one of {self.problem_types} or None, got {problem_type!r}")
        return problem_type

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return native_class_in(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, encoder_config, "sequence classification")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        assert labels is not None
        set_labels(config, labels)
        config.problem_type = problem_type  # type: ignore[assignment]

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        return class_ids(labels, shape[:-1], num_labels)

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        read = margin_predictions if reads == "margins" else classification_predictions
        return read(predictions), references.reshape(-1)

    def predicted_values(
        self,
        predictions: Any,
        names: Sequence[str | int],
        spec: TaskSpec,
        form: SubmissionFormat,
        tokenized: Dataset | None,
    ) -> list[Any]:
        if form.layout == "candidates":  # compared with each other, so that they stay scores
            return check_finite(margin_predictions(predictions)).tolist()
        return super().predicted_values(predictions, names, spec, form, tokenized)


class MultiLabelClassification(SequenceClassification):
    """Any number of labels at once: sequence classification with the problem type `"multi_label_classification"`."""

    metrics = ("f1_micro", "f1_macro", "f1_weighted", "accuracy")
    default_metrics = ("f1_micro",)
    has_one_class = False
    has_label_lists = True
    reads_flags = True
    pipeline_options = ", truncation=True, top_k=None"  # without the last, the most likely label alone

    @property
    def words(self) -> str:
        return "multi-label classification"

    def split_labels(self, value: Any, separator: str) -> list[Any]:
        return split_list(value, separator)

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> list[int]:
        return reader.id_set(value)

    def label_feature(self, labels: Sequence[str] | None) -> Any:
        from datasets import List

        return List(super().label_feature(labels))

    def check_label(self, label: Any, num_labels: int | None) -> None:
        check_id_list(label, num_labels)

    def encode_label(self, label: Any, num_labels: int | None) -> list[float]:
        assert num_labels is not None
        return [float(number in label) for number in range(num_labels)]  # floats, for binary cross entropy

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        return flags(labels, (*shape[:-1], num_labels))

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        return multi_label_predictions(predictions), references.astype(np.int64)

    def predicted_values(
        self,
        predictions: Any,
        names: Sequence[str | int],
        spec: TaskSpec,
        form: SubmissionFormat,
        tokenized: Dataset | None,
    ) -> list[Any]:
        rows = multi_label_predictions(predictions)
        return [[name for name, applies in zip(names, row, strict=True) if applies] for row in rows]

    def label_in_words(self, label: Any, labels: Sequence[str] | None) -> str:
        return list_in_words(label, labels)


def check_id_list(label: Any, num_labels: int | None) -> None:
    """
    Checks a list of label ids.

    Raises:
        ValueError: If it is invalid. The message says what it is not.
    """
    if not isinstance(label, list) or not all(is_id(part, num_labels) for part in label):
        raise ValueError(f"is not a list of ids from 0 to {(num_labels or 0) - 1}")


def list_in_words(label: Sequence[int], labels: Sequence[str] | None) -> str:
    """A list of label ids by their names, for a report on the data."""
    assert labels is not None
    return f"labels {' '.join(labels[one] for one in label) or '(none)'}"


MULTI_LABEL_CLASSIFICATION = MultiLabelClassification()
