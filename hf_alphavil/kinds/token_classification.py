"""Token classification: a label for each word of a text."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    DataCollatorForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .base import TaskKind
from .heads import native_class_in, set_labels
from .labels import LabelReader, split_list
from .loss_labels import class_ids
from .predictions import IGNORED, scored_tokens, token_predictions
from .sequence_classification import check_id_list, list_in_words
from .spec import TaskSpec
from .submission_format import SubmissionFormat
from .texts import is_printed_list, is_text_list, no_token
from .words import WORD_POSITIONS, encode_words

if TYPE_CHECKING:
    from datasets import Dataset


class TokenClassification(TaskKind):
    """One of at least two labels for each word; tokens labelled -100 do not count."""

    name = "token_classification"
    metrics = ("span_f1", "accuracy")
    default_metrics = ("span_f1",)
    has_label_lists = True
    checks_labels_of_rows = True
    extra_columns = (WORD_POSITIONS,)
    hub_task = "token-classification"
    pipeline_call = 'tag("The words of a text.")'
    pipeline_remark = "\n\nThe label of a word is that of its first token. The others were not trained."

    # ---- Settings and rows

    def check_texts(self, spec: TaskSpec) -> None:
        super().check_texts(spec)
        if len(spec.text_columns) != 1:
            raise ValueError("token classification reads one text column, the words")

    def wanted_text(self, spec: TaskSpec, column: str, value: Any) -> str | None:
        if is_printed_list(value):
            return (
                "a string of words: it is a list as Python prints it. Write the words with spaces between them, or as "
                "a list in JSON or Parquet"
            )
        return None if isinstance(value, str) or is_text_list(value) else "a string or a list of strings"

    def split_labels(self, value: Any, separator: str) -> list[Any]:
        return split_list(value, None)

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> list[int]:
        ids = [reader.id(part) for part in split_list(value, None)]
        if len(ids) != (num_words := len(words_of(spec, row))):
            raise ValueError(f"there are {len(ids)} labels for {num_words} words.")
        return ids

    def label_feature(self, labels: Sequence[str] | None) -> Any:
        from datasets import List

        return List(super().label_feature(labels))

    # ---- Inputs

    def texts(self, spec: TaskSpec, row: Mapping[str, Any]) -> list[tuple[str, ...]]:
        return [(" ".join(words_of(spec, row)),)]

    def check_label(self, label: Any, num_labels: int | None) -> None:
        check_id_list(label, num_labels)

    def check_label_of_row(self, spec: TaskSpec, label: Any, row: Mapping[str, Any]) -> None:
        words = words_of(spec, row)
        # A row without words has no loss. Alone in a batch, it would make the loss NaN.
        if not words or len(label) != len(words):
            raise ValueError(f"does not fit {len(words)} words")

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"only a fast tokenizer says which word a sub-word belongs to, and {type(tokenizer).__name__} is not "
                "one. Use an encoder with a tokenizer.json."
            )

    def tokenize(
        self,
        spec: TaskSpec,
        rows: Sequence[Mapping[str, Any]],
        labels: Sequence[Any] | None,
        tokenizer: PreTrainedTokenizerBase,
        cut: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        words = [words_of(spec, row) for row in rows]
        inputs = encode_words(words, labels, tokenizer, cut)
        for row, ids, positions in zip(words, inputs["input_ids"], inputs[WORD_POSITIONS], strict=True):
            if not ids or (labels is not None and max(positions) < 0):  # like a row without words
                raise ValueError(no_token(f"words {row!r:.80}"))
        return inputs

    def collator(
        self, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec | None = None, seed: int | None = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        # `word_positions` count from a row's first token, and padding on the left would shift every token.
        padding_right = copy.deepcopy(tokenizer)
        padding_right.padding_side = "right"
        return DataCollatorForTokenClassification(padding_right)

    # ---- Head

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        return native_class_in(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, encoder_config, "token classification")

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        assert labels is not None
        config.problem_type = None
        set_labels(config, labels)

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        if labels.shape != shape:
            raise ValueError(f"pass a list of {shape[-1]} ids, one for each token ({IGNORED} where a token has none)")
        return class_ids(labels, shape, num_labels)

    # ---- Scores and predictions

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        predicted, scored = scored_tokens(predictions, references)
        if not len(references):
            return [], []
        if reads == "tags":
            assert labels is not None
            return _tags(predicted, scored, labels), _tags(references, scored, labels)
        return predicted[scored], references[scored]

    def predicted_values(
        self,
        predictions: Any,
        names: Sequence[str | int],
        spec: TaskSpec,
        form: SubmissionFormat,
        tokenized: Dataset | None,
    ) -> list[Any]:
        if tokenized is None or WORD_POSITIONS not in tokenized.column_names:
            raise ValueError(
                "pass tokenized, the tokenised test split with its column word_positions, which gives the place of "
                "each word's label"
            )
        ids, positions = token_predictions(predictions), tokenized[WORD_POSITIONS][:]
        if len(ids) != len(positions):
            raise ValueError(f"{len(ids)} predictions for {len(positions)} tokenised rows")
        rows: list[list[str | int | None]] = []
        for number, (row, places) in enumerate(zip(ids, positions, strict=True)):
            labels: list[str | int | None] = []
            for place in places:
                if place >= len(row) or (place >= 0 and not 0 <= row[place] < len(names)):
                    raise ValueError(f"row {number} has no prediction for the token {place}")
                labels.append(names[row[place]] if place >= 0 else None)
            rows.append(labels)
        return rows

    def label_in_words(self, label: Any, labels: Sequence[str] | None) -> str:
        return list_in_words(label, labels)


def words_of(spec: TaskSpec, row: Mapping[str, Any]) -> list[str]:
    """A row's words: a list, or a string of words between white space."""
    words = row[spec.text_columns[0]]
    return words.split() if isinstance(words, str) else list(words)


def _tags(ids: np.ndarray, scored: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
    return [[labels[number] for number in row[keep]] for row, keep in zip(ids, scored, strict=True)]
