"""Multiple choice: selects one of a row's texts, each read together with a common context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import (
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data.multiple_choice import MultipleChoiceCollator
from .base import TaskKind
from .choices import ChoiceSmoother, score_choices, score_present_choices
from .heads import native_class_in, set_labels
from .labels import LabelReader
from .loss_labels import class_ids
from .spec import TaskSpec
from .texts import encode_texts, fill_template, is_text_list

if TYPE_CHECKING:
    from datasets import Dataset


class MultipleChoice(TaskKind):
    """
    Selects one of several texts for each row.

    An architecture without a multiple-choice class, such as a decoder, gets a sequence classifier with one label,
    which scores every choice separately.
    """

    name = "multiple_choice"
    metrics = ("accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted", "matthews_correlation")
    default_metrics = ("accuracy",)
    has_one_class = True
    learns_labels = False
    checks_labels_of_rows = True
    has_output_per_label = False
    input_dimensions = 2
    hub_task = "multiple-choice"
    has_pipeline = False

    # ---- Settings

    def check_texts(self, spec: TaskSpec) -> None:
        if spec.text_columns or spec.text_templates:
            raise ValueError("a multiple choice reads context_template, not text_columns or text_templates")
        if spec.context_template is None or (len(spec.choice_columns) < 2) == (spec.choices_column is None):
            raise ValueError(
                "pass a context_template and two or more choice_columns, or the one choices_column that holds lists"
            )

    def labels_of(self, spec: TaskSpec, splits: Sequence[Dataset] = ()) -> tuple[str, ...] | None:
        choices = spec.choice_columns or tuple(map(str, range(_most_choices(spec, splits))))
        labels = spec.labels if spec.labels is not None else choices
        if len(labels) < len(choices):
            raise ValueError(
                f"there are up to {len(choices)} choices and {len(labels)} labels; pass one label for each choice"
            )
        return labels or None

    def labels_in_words(self, labels: Sequence[str]) -> str:
        return f"up to {len(labels)} choices"

    # ---- Rows and inputs

    def wanted_text(self, spec: TaskSpec, column: str, value: Any) -> str | None:
        if column == spec.choices_column:
            return None if is_text_list(value) else "a list of strings"
        if column in spec.choice_columns and value is None:
            return None
        return super().wanted_text(spec, column, value)

    def check_texts_of_row(self, spec: TaskSpec, row: Mapping[str, Any]) -> None:
        super().check_texts_of_row(spec, row)
        choices = choices_of(spec, row)
        if len(choices) < 2:
            raise ValueError(f"the choices are {choices!r:.80}; a row needs two or more.")
        if None in choices or (spec.choice_columns and "" in choices):
            raise ValueError(f"the choices are {choices!r:.80}; only the last ones may be null or empty.")

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> int:
        return reader.limited_to(len(choices_of(spec, row))).id(value)

    def texts(self, spec: TaskSpec, row: Mapping[str, Any]) -> list[tuple[str, ...]]:
        assert spec.context_template is not None
        context = fill_template(spec.context_template, spec.value_maps, row)
        return [(context, choice) for choice in choices_of(spec, row)]

    def check_label_of_row(self, spec: TaskSpec, label: Any, row: Mapping[str, Any]) -> None:
        if label >= (present := len(choices_of(spec, row))):
            raise ValueError(f"does not fit {present} choices")

    def tokenize(
        self,
        spec: TaskSpec,
        rows: Sequence[Mapping[str, Any]],
        labels: Sequence[Any] | None,
        tokenizer: PreTrainedTokenizerBase,
        cut: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        texts = [self.texts(spec, row) for row in rows]
        encoded = encode_texts([pair for row in texts for pair in row], tokenizer, cut)
        inputs = {name: list(_grouped(values, map(len, texts))) for name, values in encoded.items()}
        if labels is not None:
            inputs["labels"] = [self.encode_label(label, spec.num_labels) for label in labels]
        return inputs

    def collator(
        self, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec | None = None, seed: int | None = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        return MultipleChoiceCollator(tokenizer, num_choices=len(spec.labels or ()) if spec is not None else None)

    # ---- Head

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        if problem_type is not None:
            raise ValueError(f"multiple choice takes no problem_type, got {problem_type!r}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        if _has_choice_class(encoder_config):
            return native_class_in(MODEL_FOR_MULTIPLE_CHOICE_MAPPING, encoder_config, "multiple choice")
        return native_class_in(
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, encoder_config, "multiple choice nor sequence classification"
        )

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        config.problem_type = None
        if not _has_choice_class(config):
            labels = ["LABEL_0"]  # the score of one choice
        # A choice model has one output, however many labels there are. Two unnamed labels are transformers' default.
        set_labels(config, labels or ["LABEL_0", "LABEL_1"])

    def forward(self, native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        if "choice_mask" in inputs:
            return score_present_choices(self._score, native, inputs)
        return self._score(native, inputs)

    @staticmethod
    def _score(native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        return native(**inputs) if _has_choice_class(native.config) else score_choices(native, inputs)

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        return class_ids(labels, shape[:-2], num_labels=shape[-2])

    def label_smoother(self, smoother: Any, inputs: Mapping[str, Any]) -> Any:
        if "choice_mask" in inputs:
            return ChoiceSmoother(smoother.epsilon, inputs["choice_mask"])
        return super().label_smoother(smoother, inputs)

    # ---- Words for people

    def warning_about(self, spec: TaskSpec, rows: Dataset) -> str | None:
        choices = [choices_of(spec, row) for row in rows]
        odd = sum(len({text.strip() for text in row} - {""}) < len(row) for row in choices)
        return f"{odd} rows have a choice twice, or an empty one" if odd else None

    def usage(self, name: str, place: str, num_texts: int | None = None) -> str:
        return (
            f"The exported `{name}` is an ordinary Hugging Face folder for `AutoModelForMultipleChoice`:\n\n"
            "```python\n"
            "from transformers import AutoModelForMultipleChoice, AutoTokenizer\n\n"
            f'model = AutoModelForMultipleChoice.from_pretrained("{place}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{place}")\n'
            'choices = ["The first choice.", "The second choice."]\n'
            'inputs = tokenizer(["The text before the choices."] * 2, choices, padding=True, return_tensors="pt")\n'
            "logits = model(**{name: value[None] for name, value in inputs.items()}).logits[0]\n"
            "print(choices[logits.argmax()])\n```"
        )


def choices_of(spec: TaskSpec, row: Mapping[str, Any]) -> list[Any]:
    """A row's choices, without `None` and empty strings at the end of `choice_columns`."""
    if spec.choices_column is not None:
        return list(row[spec.choices_column] or ())
    choices = [row[column] for column in spec.choice_columns]
    while choices and choices[-1] in (None, ""):
        choices.pop()
    return choices


def _most_choices(spec: TaskSpec, splits: Sequence[Dataset]) -> int:
    column = spec.choices_column
    lists = (choices for rows in splits if column in rows.column_names for choices in rows[column])
    return max((len(choices) for choices in lists if isinstance(choices, list)), default=0)


def _grouped(values: Sequence[Any], sizes: Iterator[int]) -> Iterator[list[Any]]:
    """A flat list, cut into lists of the given sizes."""
    remaining = iter(values)
    return (list(islice(remaining, size)) for size in sizes)


def _has_choice_class(config: PreTrainedConfig) -> bool:
    return type(config) in MODEL_FOR_MULTIPLE_CHOICE_MAPPING
