"""The base class of all kinds of task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from datasets import ClassLabel, Dataset, Value
from torch import Tensor
from transformers import DataCollatorWithPadding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .labels import LabelReader, is_id
from .predictions import classification_predictions
from .spec import TaskSpec
from .submission_format import SubmissionFormat
from .texts import encode_texts, fill_template


class TaskKind:
    """
    One kind of task: which settings it takes, how a row becomes model inputs, which head it has, and how its
    predictions are scored and written.

    To add a kind, write a subclass in a file beside the others and add an instance to `KINDS` (or pass it to
    [`register_kind`]). The methods of this class are those of a text or a pair of texts with one label of several; a
    subclass must set `name`, `hub_task`, `metrics`, `default_metrics`, and define `native_class`.

    Methods raise `ValueError` with the reason; who calls them adds the task, or the file and the line.
    """

    #: The kind's name in settings, YAML files and head descriptions.
    name: ClassVar[str]
    #: The problem types that a task of this kind may have. The first is the default.
    problem_types: ClassVar[tuple[str | None, ...]] = (None,)
    #: Keys of `METRICS` that can score this kind, and those that do by default.
    metrics: ClassVar[tuple[str, ...]]
    default_metrics: ClassVar[tuple[str, ...]]
    #: The configuration of the `evaluate.Metric` that scores this kind.
    metric_config: ClassVar[str | None] = None

    #: Whether rows have labels that are read from the data.
    reads_labels: ClassVar[bool] = True
    #: Whether labels are classes, which have names.
    has_classes: ClassVar[bool] = True
    #: Whether a row's label is one class of several: rows can be stratified by it, and predictions have an entropy.
    has_one_class: ClassVar[bool] = False
    #: Whether a row's label is a list of ids.
    has_label_lists: ClassVar[bool] = False
    #: Whether the labels of a task that names none are those of its training rows.
    learns_labels: ClassVar[bool] = True
    #: Whether a row's label may be a flag for each label of the task.
    reads_flags: ClassVar[bool] = False
    #: Whether a valid label may still not fit its own row, as the choice 3 of two: see `check_label_of_row`.
    checks_labels_of_rows: ClassVar[bool] = False
    #: Columns that tokenisation adds beside the model's inputs.
    extra_columns: ClassVar[tuple[str, ...]] = ()
    #: Whether there is something to predict about a test row.
    has_predictions: ClassVar[bool] = True

    #: Whether the encoder's checkpoint may hold a trained head of this kind.
    has_pretrained_head: ClassVar[bool] = False
    #: What evaluation keeps of a batch's logits: a function of logits and labels; `None` keeps the logits.
    reduce_logits: ClassVar[Callable[..., Tensor] | None] = None

    #: The task's id on the Hub, such as `"text-classification"`.
    hub_task: ClassVar[str]
    #: Whether `pipeline()` runs models of this kind.
    has_pipeline: ClassVar[bool] = True
    #: An example of a pipeline's use on the model card, its other options, and a remark below.
    pipeline_call: ClassVar[str] = (
        'classify({"text": "The first text.", "text_pair": "The second text, if the task has two."})'
    )
    pipeline_options: ClassVar[str] = ""
    pipeline_remark: ClassVar[str] = ""

    def of_problem_type(self, problem_type: str | None) -> TaskKind:
        """The kind as it is for tasks of one problem type: another object only where problem types differ so much."""
        return self

    @property
    def words(self) -> str:
        """`str`: The kind's name in a sentence."""
        return self.name.replace("_", " ")

    # ---- Settings

    def check_texts(self, spec: TaskSpec) -> None:
        """
        Checks which columns and templates a task reads.

        Raises:
            `ValueError`: for anything but one or two texts.
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
        The names of a task's labels, in id order; `None` where nothing names them.

        Args:
            spec (`TaskSpec`): The task's settings.
            splits (`Sequence[Dataset]`, *optional*): Its rows, where they are loaded.

        Raises:
            `ValueError`: for rows that need more labels than there are names.
        """
        return spec.labels

    def labels_in_words(self, labels: Sequence[str]) -> str:
        """How many labels there are, in words."""
        return f"{len(labels)} labels"

    # ---- Rows: from a source to a task's columns

    def wanted_text(self, spec: TaskSpec, column: str, value: Any) -> str | None:
        """What a column of texts should hold instead of `value`; `None` where `value` is valid."""
        return None if isinstance(value, str) else "a string"

    def check_texts_of_row(self, spec: TaskSpec, row: Mapping[str, Any]) -> None:
        """
        Checks that a row's texts are what the model can read.

        Raises:
            `ValueError`: naming the column and what it holds.
        """
        for column in spec.input_columns:
            value, known = row[column], spec.value_maps.get(column)
            if wanted := self.wanted_text(spec, column, value):
                raise ValueError(f"the column {column!r} holds {value!r:.80}, which is not {wanted}.")
            if known is not None and value not in known:
                raise ValueError(f"the column {column!r} holds {value!r:.80}; known are {', '.join(known)}.")

    def split_labels(self, value: Any, separator: str) -> list[Any]:
        """The labels that a source writes for one row: one, or those of a list or of a string with separators."""
        return [value]

    def read_label(self, reader: LabelReader, spec: TaskSpec, value: Any, row: Mapping[str, Any]) -> Any:
        """
        A row's label as a task's rows hold it: an id, a float, or a list of ids.

        Args:
            reader (`LabelReader`): Knows how the source writes labels.
            spec (`TaskSpec`): The task's settings.
            value (`Any`): What the source writes.
            row (`dict[str, Any]`): The row's other columns.

        Raises:
            `ValueError`: for another number of labels, and for a value that is not a label of the task.
        """
        return reader.id(value)

    def label_feature(self, labels: Sequence[str] | None) -> Any:
        """The Arrow feature of the label column."""
        return ClassLabel(names=list(labels)) if labels is not None else Value("int64")

    # ---- Inputs: from a task's rows to the model

    def texts(self, spec: TaskSpec, row: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """The texts, or pairs of texts, that the encoder reads of a row: one here, one for each choice of several."""
        if spec.text_templates:
            return [tuple(fill_template(template, spec.value_maps, row) for template in spec.text_templates)]
        return [tuple(row[column] for column in spec.text_columns)]

    def check_label(self, label: Any, num_labels: int | None) -> None:
        """
        Checks one label of a task's rows.

        Raises:
            `ValueError`: saying what the label is not.
        """
        if not is_id(label, num_labels):
            raise ValueError(f"is not an id from 0 to {(num_labels or 0) - 1}")

    def check_label_of_row(self, spec: TaskSpec, label: Any, row: Mapping[str, Any]) -> None:
        """
        Checks a valid label against its own row; called where `checks_labels_of_rows`.

        Raises:
            `ValueError`: saying what the label does not fit.
        """

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Checks that a tokenizer can make this kind's inputs.

        Raises:
            `ValueError`: saying what the tokenizer lacks.
        """

    def encode_label(self, label: Any, num_labels: int | None) -> Any:
        """A row's label as the model's loss takes it."""
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
        Makes model inputs of some rows.

        Args:
            spec (`TaskSpec`): The task's settings.
            rows (`Sequence[dict]`): Raw rows.
            labels (`Sequence`, *optional*): Their labels, where they have some.
            tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
            cut (`dict[str, Any]`): `truncation` and `max_length` of the tokenizer's call.

        Returns:
            `dict[str, list]`: a value for each row: the tokenizer's model inputs, unpadded, `extra_columns`, and
            `labels` where they are given.

        Raises:
            `ValueError`: for a row that gives no token at all.
        """
        inputs = encode_texts([self.texts(spec, row)[0] for row in rows], tokenizer, cut)
        if labels is not None:
            inputs["labels"] = [self.encode_label(label, spec.num_labels) for label in labels]
        return inputs

    def collator(
        self, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec | None = None, seed: int | None = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        """
        What makes a batch of tokenised rows.

        Args:
            tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
            spec (`TaskSpec`, *optional*): The task's settings, where they are known.
            seed (`int`, *optional*): Seeds what is drawn at random.

        Raises:
            `ValueError`: for a tokenizer that lacks what this kind needs.
        """
        return DataCollatorWithPadding(tokenizer)

    # ---- Head

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        """
        Checks a head description and returns its full problem type.

        Raises:
            `ValueError`: if `labels` or `problem_type` do not fit this kind.
        """
        if labels is None or len(labels) < 2:
            raise ValueError(f"{self.words} needs at least two labels, got {labels}")
        if problem_type is not None:
            raise ValueError(f"{self.words} takes no problem_type, got {problem_type!r}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        """
        The architecture's own class for this kind of task.

        Raises:
            `ValueError`: if the architecture has none.
        """
        raise NotImplementedError

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        """Writes labels and problem type into `config`, a copy of the encoder's configuration, in place."""
        raise NotImplementedError

    def forward(self, native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        """Runs the native model. `inputs` holds no `None`."""
        return native(**inputs)

    def label_smoother(self, smoother: Any, inputs: Mapping[str, Any]) -> Any:
        """
        The label smoother of one batch.

        Args:
            smoother (`LabelSmoother`): Trainer's.
            inputs (`Mapping[str, Any]`): The batch.

        Returns:
            `Callable`, *optional*: `None` for scores and for several labels at once, which are not one class.
        """
        labels = inputs.get("labels")
        return None if isinstance(labels, Tensor) and labels.is_floating_point() else smoother

    # ---- Scores and predictions

    def metric_inputs(
        self, reads: str, predictions: Any, references: np.ndarray, labels: Sequence[str] | None
    ) -> tuple[Any, Any]:
        """
        Predictions and references as a metric reads them.

        Args:
            reads (`str`): What the metric reads, see [`PackagedMetric`].
            predictions (`np.ndarray`): The model's, as in [`Task.compute_metrics`].
            references (`np.ndarray`): The labels.
            labels (`Sequence[str]`, *optional*): The labels' names in id order.

        Returns:
            `tuple`: predictions and references, one of each for everything that is scored.

        Raises:
            `ValueError`: for predictions of another shape.
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
        What a prediction file says about each row.

        Args:
            predictions (`np.ndarray`): Logits of shape `(rows, labels)` or label ids of shape `(rows,)`.
            names (`Sequence[str | int]`): What to write for each label id; nothing for a kind without classes.
            spec (`TaskSpec`): The task's settings.
            form (`SubmissionFormat`): The file's form.
            tokenized (`datasets.Dataset`, *optional*): What was predicted.

        Raises:
            `ValueError`: for predictions that cannot be written.
        """
        array = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
        ids = array if array.ndim == 1 else classification_predictions(array)
        for label in ids:
            if label != int(label) or not 0 <= label < len(names):
                raise ValueError(f"the prediction {label} is not an id from 0 to {len(names) - 1}")
        return [names[int(label)] for label in ids]

    def is_prediction(self, value: Any, names: Sequence[str | int], spec: TaskSpec) -> bool:
        """Whether a leaderboard knows a value of a prediction file; `names` as in [`predicted_values`]."""
        return any(type(value) is type(name) and value == name for name in names)

    def placeholder(self, names: Sequence[str | int], spec: TaskSpec, form: SubmissionFormat) -> Any:
        """A legal value for every row of a prediction file that predicts nothing."""
        return names[0]

    # ---- Words for people

    def label_in_words(self, label: Any, labels: Sequence[str] | None) -> str:
        """A row's label, for a report on the data."""
        assert labels is not None
        return f"label {labels[label]}"

    def labels_summary(self, values: Sequence[Any]) -> str:
        """The distribution of labels that are not classes, for a report on the data."""
        return ""

    def warning_about(self, spec: TaskSpec, rows: Dataset) -> str | None:
        """What is odd about some rows but may be meant so, for a report on the data."""
        return None

    def usage(self, name: str, place: str) -> str:
        """
        How to use an exported task, in Markdown for the model card.

        Args:
            name (`str`): The task.
            place (`str`): The exported model's folder or id.
        """
        variable = self.pipeline_call.split("(")[0]
        return (
            f"The exported `{name}` is an ordinary Hugging Face folder. It needs nothing but `transformers`:\n\n"
            "```python\nfrom transformers import pipeline\n\n"
            f'{variable} = pipeline("{self.hub_task}", model="{place}"{self.pipeline_options})\n'
            f"print({self.pipeline_call})\n```" + self.pipeline_remark
        )
