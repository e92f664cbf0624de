"""How the rows of a kind of task become model inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from .description import KindDescription
from .labels import LabelReader, is_id
from .spec import TaskSpec
from .texts import encode_texts, fill_template

if TYPE_CHECKING:
    from datasets import Dataset


class KindInputs(KindDescription):
    """A kind's texts, labels, tokenisation and collation: a part of [`TaskKind`]."""

    #: Whether rows have labels that are read from the data.
    reads_labels: ClassVar[bool] = True
    #: Whether labels are classes, which have names.
    has_classes: ClassVar[bool] = True
    #: Whether a row's label is one class of several: rows can be stratified by it, and predictions have an entropy.
    has_one_class: ClassVar[bool] = False
    #: Whether a row's label is a list of ids.
    has_label_lists: ClassVar[bool] = False
    #: Whether a task without `labels` takes them from its training rows.
    learns_labels: ClassVar[bool] = True
    #: Whether a row's label may be a flag for each label of the task.
    reads_flags: ClassVar[bool] = False
    #: Whether a valid label may still not fit its row, such as choice 3 in a row of two: see `check_label_of_row`.
    checks_labels_of_rows: ClassVar[bool] = False
    #: Dimensions of a row's `input_ids`: two if a row has several sequences.
    input_dimensions: ClassVar[int] = 1
    #: Columns that tokenisation adds beside the model's inputs.
    extra_columns: ClassVar[tuple[str, ...]] = ()

    # ---- Settings

    def check_texts(self, spec: TaskSpec) -> None:
        """
        Checks which columns and templates a task reads.

        Raises:
            ValueError: If the task does not read one or two texts.
        """
        if spec.context_template is not None or spec.choice_columns or spec.choices_column:
            raise ValueError(f"choices and context_template are for the kind 'multiple_choice', not {self.name!r}")
        texts = spec.text_columns or spec.text_templates
        if bool(spec.text_columns) == bool(spec.text_templates) or len(texts) > 2:
            raise ValueError(
                f"pass one or two text_columns, or one or two text_templates, not {spec.text_columns} and "
                f"{spec.text_templates}"
            )

    def labels_of(self, spec: TaskSpec, splits: Sequence[Dataset] = ()) -> tuple[str, ...] | None:
        """
        Finds the names of a task's labels, in id order. Returns `None` if there are none.

        Args:
            spec (`TaskSpec`): The task's settings.
            splits (`Sequence[Dataset]`, *optional*): The task's rows, if they are loaded.

        Raises:
            ValueError: If rows need more labels than there are names.
        """
        return spec.labels

    # ---- Rows: from a source to a task's columns

    def wanted_text(self, spec: TaskSpec, column: str, value: Any) -> str | None:
        """Says what a text column should hold instead of `value`. Returns `None` if `value` is valid."""
        return None if isinstance(value, str) else "a string"

    def check_texts_of_row(self, spec: TaskSpec, row: Mapping[str, Any]) -> None:
        """
        Checks that the model can read a row's texts.

        Raises:
            ValueError: If it cannot. The message gives the column and its value.
        """
        for column in spec.input_columns:
            value, known = row[column], spec.value_maps.get(column)
            if wanted := self.wanted_text(spec, column, value):
                raise ValueError(f"the column {column!r} holds {value!r:.80}, which is not {wanted}.")
            if known is not None and value not in known:
                raise ValueError(f"the column {column!r} holds {value!r:.80}; known are {', '.join(known)}.")

    def split_labels(self, value: Any, separator: str) -> list[Any]:
        """Splits a row's label, as the source writes it, into single labels: one, or those of a list or a string."""
        return [value]

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> Any:
        """
        Reads a row's label and returns it in the form that a task's rows have: an id, a float, or a list of ids.

        Args:
            reader (`LabelReader`): Reader of the source's labels.
            spec (`TaskSpec`): The task's settings.
            value (`Any`): The label as the source writes it.
            row (`dict[str, Any]`): The row's other columns.

        Raises:
            ValueError: If the number of labels is wrong, or a value is not a label of the task.
        """
        return reader.id(value)

    def label_feature(self, labels: Sequence[str] | None) -> Any:
        """The Arrow feature of the label column."""
        from datasets import ClassLabel, Value

        return ClassLabel(names=list(labels)) if labels is not None else Value("int64")

    # ---- Inputs: from a task's rows to the model

    def texts(self, spec: TaskSpec, row: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """The texts, or pairs of texts, that the encoder reads: one per row, or one per choice for multiple choice."""
        if spec.text_templates:
            return [tuple(fill_template(template, spec.value_maps, row) for template in spec.text_templates)]
        return [tuple(row[column] for column in spec.text_columns)]

    def check_label(self, label: Any, num_labels: int | None) -> None:
        """
        Checks one label of a task's rows. Raises: ValueError: If the label is invalid.
        """
        if not is_id(label, num_labels):
            raise ValueError(f"is not an id from 0 to {(num_labels or 0) - 1}")

    def check_label_of_row(self, spec: TaskSpec, label: Any, row: Mapping[str, Any]) -> None:
        """
        Checks a valid label against its row. It is called only if `checks_labels_of_rows`.

        Raises:
            ValueError: If the label does not fit. The message says what it does not fit.
        """

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Checks that a tokenizer can make this kind's inputs.

        Raises:
            ValueError: If it cannot. The message says what the tokenizer lacks.
        """

    def encode_label(self, label: Any, num_labels: int | None) -> Any:
        """Converts a row's label to the form that the model's loss takes."""
        return int(label)

    def tokenize(
        self,
        spec: TaskSpec,
        rows: Sequence[Mapping[str, Any]],
        labels: Sequence[Any] | None,
        tokenizer: PreTrainedTokenizerBase,
        cut: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        """
        Makes model inputs from rows.

        Args:
            spec (`TaskSpec`): The task's settings.
            rows (`Sequence[dict]`): Raw rows.
            labels (`Sequence`, *optional*): The rows' labels, if they have any.
            tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
            cut (`dict[str, Any]`): The tokenizer's arguments `truncation` and `max_length`.

        Returns:
            `dict[str, list]`: A value for each row: the tokenizer's model inputs, unpadded, `extra_columns`, and
            `labels`, if they are given.

        Raises:
            ValueError: If a row gives no tokens.
        """
        inputs = encode_texts([self.texts(spec, row)[0] for row in rows], tokenizer, cut)
        if labels is not None:
            inputs["labels"] = [self.encode_label(label, spec.num_labels) for label in labels]
        return inputs

    def collator(
        self, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec | None = None, seed: int | None = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        """
        Builds the function that collates tokenised rows into a batch.

        Args:
            tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
            spec (`TaskSpec`, *optional*): The task's settings, if they are known.
            seed (`int`, *optional*): Seed of random draws, such as the masks of masked language modelling.

        Raises:
            ValueError: If the tokenizer lacks what this kind needs.
        """
        return DataCollatorWithPadding(tokenizer)
