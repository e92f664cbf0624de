"""The kinds of task head: which native class a kind builds, from which configuration, and how it is called."""

from __future__ import annotations

from typing import Any

from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from .choices import score_choices, score_present_choices


class HeadKind:
    """
    One kind of task head. To support another one, subclass and add an instance to `KINDS`.

    A kind is looked up by its name in a task's head description `{"kind", "labels", "problem_type"}`.
    """

    name: str

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        """
        Check a head description and return its full problem type.

        Raises:
            `ValueError`: If `labels` or `problem_type` do not fit this kind.
        """
        raise NotImplementedError

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        """
        The architecture's own class for this kind of task.

        Raises:
            `ValueError`: If the architecture has none.
        """
        raise NotImplementedError

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        """Write labels and problem type into `config`, a copy of the encoder's configuration, in place."""
        raise NotImplementedError

    def forward(self, native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        """Run the native model. `inputs` holds no `None`."""
        return native(**inputs)


class SequenceClassification(HeadKind):
    """One or several of at least two labels for each example."""

    name = "sequence_classification"
    problem_types = ("single_label_classification", "multi_label_classification")

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is None or len(labels) < 2:
            raise ValueError(
                f"classification needs at least two labels, got {labels}; for one number per example use the kind "
                "'regression'"
            )
        # Always explicit: left out, native models guess it from their first batch and keep the guess.
        problem_type = problem_type or "single_label_classification"
        if problem_type not in self.problem_types:
            raise ValueError(f"problem_type must be one of {self.problem_types} or None, got {problem_type!r}")
        return problem_type

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return _class_in(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, encoder_config, "sequence classification")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        assert labels is not None
        _set_labels(config, labels)
        config.problem_type = problem_type  # type: ignore[assignment]


class Regression(SequenceClassification):
    """One number for each example: a sequence classifier with one output and a squared error."""

    name = "regression"

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is not None and len(labels) != 1:
            raise ValueError(f"regression has one output: labels must be None or one name, got {labels}")
        if problem_type not in (None, "regression"):
            raise ValueError(f"problem_type must be 'regression' or None, got {problem_type!r}")
        return "regression"

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        super().configure(config, labels or ["LABEL_0"], problem_type)


class MultipleChoice(HeadKind):
    """
    One of several texts for each example.

    An architecture without a multiple-choice class, as decoders are, gets a sequence classifier with one label, which
    scores every choice by itself.
    """

    name = "multiple_choice"

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if problem_type is not None:
            raise ValueError(f"multiple choice takes no problem_type, got {problem_type!r}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        if _has_choice_class(encoder_config):
            return _class_in(MODEL_FOR_MULTIPLE_CHOICE_MAPPING, encoder_config, "multiple choice")
        return _class_in(
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, encoder_config, "multiple choice nor sequence classification"
        )

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        config.problem_type = None
        if not _has_choice_class(config):
            labels = ["LABEL_0"]  # the score of one choice
        # A choice model has one output whatever its labels; two unnamed ones are the library's default.
        _set_labels(config, labels or ["LABEL_0", "LABEL_1"])

    def forward(self, native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        if "choice_mask" in inputs:
            return score_present_choices(self._score, native, inputs)
        return self._score(native, inputs)

    @staticmethod
    def _score(native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        return native(**inputs) if _has_choice_class(native.config) else score_choices(native, inputs)


class TokenClassification(HeadKind):
    """One of at least two labels for each token; tokens labelled -100 do not count."""

    name = "token_classification"

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is None or len(labels) < 2:
            raise ValueError(f"token classification needs at least two labels, got {labels}")
        if problem_type is not None:
            raise ValueError(f"token classification takes no problem_type, got {problem_type!r}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return _class_in(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, encoder_config, "token classification")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        assert labels is not None
        config.problem_type = None
        _set_labels(config, labels)


class MaskedLM(HeadKind):
    """The token behind each mask: the architecture's own language model head, tied to the embeddings where it is."""

    name = "masked_lm"

    def check(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if labels is not None or problem_type is not None:
            raise ValueError(f"masked language modelling takes no labels and no problem_type, got {labels}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return _class_in(MODEL_FOR_MASKED_LM_MAPPING, encoder_config, "masked language modelling")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        config.problem_type = None


KINDS: dict[str, HeadKind] = {
    kind.name: kind
    for kind in (SequenceClassification(), Regression(), MultipleChoice(), TokenClassification(), MaskedLM())
}


def _has_choice_class(config: PreTrainedConfig) -> bool:
    return type(config) in MODEL_FOR_MULTIPLE_CHOICE_MAPPING


def _class_in(mapping: Any, config: PreTrainedConfig, what: str) -> type[PreTrainedModel]:
    if type(config) not in mapping:
        raise ValueError(f"the architecture {config.model_type!r} has no native class for {what} in transformers")
    return mapping[type(config)]


def _set_labels(config: PreTrainedConfig, labels: list[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
