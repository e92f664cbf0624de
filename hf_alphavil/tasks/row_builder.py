"""From a source's rows to a split of a task, whatever the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import pyarrow
from datasets import ClassLabel, Dataset, DatasetInfo, Features, NamedSplit, Value
from datasets import List as ListFeature
from datasets.table import InMemoryTable

from .definition import TaskDefinition
from .errors import DataError, Report
from .fingerprints import hash_of
from .labels import LabelReader, are_flags, check_label_value, infer_labels, split_labels
from .prepare import PREPARE
from .readers.columns import value_at
from .task_checks import KINDS_WITHOUT_CLASSES
from .text_format import TextFormat, check_row_texts, choices_of, words_of

MAX_IDX = 2**31 - 1  # the Hub stores `idx` as int32
#: What test sets lack, or must not be looked at in them.
ANSWER_COLUMNS = ("answers",)

#: A place in the source (a line or a row number) and the row.
Place = tuple[int, Mapping[str, Any]]
#: From a place, if there is one, and a reason to the error.
Fault = Callable[[int | None, str], DataError]


class SplitBuilder:
    """
    Builds the splits of one task.

    Args:
        definition (`TaskDefinition`):
            The task.
        columns (`dict[str, str]`):
            The source's column by ours, where they differ.
        written_labels (`tuple`, *optional*):
            What the source writes for each label id.
        label_names (`tuple[str, ...]`, *optional*):
            The labels' names, where the definition says none and the source does.
    """

    def __init__(
        self,
        definition: TaskDefinition,
        columns: Mapping[str, str],
        written_labels: tuple[Any, ...] | None = None,
        label_names: tuple[str, ...] | None = None,
    ) -> None:
        settings = definition.settings
        self.definition = definition
        self.kind: str = settings["kind"]
        self.format = text_format(settings)
        self.label_column: str = self.format.label_column
        self.is_multi_label, self.is_list = self.format.is_multi_label, self.format.has_label_lists
        self.labels: tuple[str, ...] | None = settings.get("labels") or label_names
        if self.labels is None and self.kind == "multiple_choice" and self.format.choice_columns:
            self.labels = tuple(self.format.choice_columns)
        self.written = written_labels
        self.columns = dict(columns)
        if definition.prepare is None:
            named = [*self.format.columns, *([settings["group_column"]] if settings.get("group_column") else [])]
            named += [] if self.kind == "masked_lm" else [self.label_column]
            self.columns |= {name: name for name in named if name not in self.columns}

    def wanted(self, split: str) -> list[str]:
        """`list[str]`: The source's columns that a split must have."""
        hidden = {self.label_column, *ANSWER_COLUMNS} if split == "test" else set()
        return [theirs for ours, theirs in self.columns.items() if ours not in hidden]

    def learn_labels(self, rows: Iterable[Place], fault: Fault) -> None:
        """
        Takes the labels from training rows, where nothing names them.

        Raises:
            [`DataError`]: for values that are no labels.
        """
        if not self._lacks_labels:
            return
        values: list[Any] = []
        lengths: set[int] = set()
        place: int | None = None
        try:
            for number, row in rows:
                place = number
                value = _value(row, self.columns[self.label_column])
                parts = split_labels(value, self.kind, self._separator) if self.is_list else [value]
                for part in parts:
                    check_label_value(part)
                values += parts
                if parts:
                    lengths.add(len(parts) if are_flags(parts) else 0)
            place = None  # what follows is about all of them
            if self.is_multi_label and len(lengths) == 1 and min(lengths) > 1:
                raise ValueError("the training rows say of each label whether it applies, as 1 or 0: write `labels`.")
            self.labels, self.written = infer_labels(values)
        except DataError:
            raise
        except ValueError as error:
            raise fault(place, str(error)) from None

    def build(self, split: str, rows: Iterable[Place], fault: Fault, report: Report, fingerprint: str) -> Dataset:
        """
        A split's rows.

        Args:
            split (`str`):
                `"train"`, `"validation"` or `"test"`, of which labels are not read, if there are some.
            rows (`Iterable[tuple[int, dict]]`):
                Places and rows in the source's columns.
            fault (`Callable`):
                Makes an error of a place and a reason.
            report (`Callable`):
                Is told of every faulty row.
            fingerprint (`str`):
                A hash of the source's content.

        Returns:
            `datasets.Dataset`: the rows in the task's columns.
        """
        if self._lacks_labels and split != "test":
            raise self.definition.source.fault(
                f"nothing names the labels of the task {self.definition.key!r}: write `labels`, or training rows.",
                self.definition.key,
            )
        columns: dict[str, list[Any]] = {}
        seen: set[Any] = set()
        types: dict[str, type] = {}
        self._forms: list[str] = []  # of this split's labels
        for number, (place, row) in enumerate(rows):
            try:
                made = list(self._rows_of(split, number, row, seen))
                for values in made:
                    check_types(values, types)
            except ValueError as error:
                report(fault(place, str(error)))
                continue
            for values in made:
                for name, value in values.items():
                    columns.setdefault(name, []).append(value)
        features = self._features(columns)
        # Not `from_dict`: a fingerprint of the content lets the next run find what this one cached.
        return Dataset(
            InMemoryTable.from_pydict(columns, schema=features.arrow_schema),
            info=DatasetInfo(features=features),
            split=NamedSplit(split),
            # The labels may come from other rows than these.
            fingerprint=hash_of(fingerprint, self.labels, self.written),
        )

    @property
    def _lacks_labels(self) -> bool:
        """Whether nothing has named the labels of a task that has some; a row's choices are numbered."""
        return self.labels is None and self.kind not in (*KINDS_WITHOUT_CLASSES, "multiple_choice")

    @property
    def _separator(self) -> str:
        return self.definition.files.label_separator if self.definition.files is not None else ","

    def _rows_of(self, split: str, number: int, row: Mapping[str, Any], seen: set[Any]) -> Iterator[dict[str, Any]]:
        values: dict[str, Any] = {}
        for ours, theirs in self.columns.items():
            if ours == self.label_column and split == "test":
                continue
            values[ours] = _value(row, theirs)
        label = values.pop(self.label_column, None)
        values = {name: checked_text(value, name) for name, value in values.items()}
        idx = _checked_idx(values.pop("idx")) if "idx" in values else number
        key = tuple(sorted(idx.items())) if isinstance(idx, dict) else idx
        if key in seen:
            raise ValueError(f"the idx {idx} stands in an earlier row too.")
        if self.definition.prepare is None:
            check_row_texts(self.format, values)  # before words and choices are counted for the label
        if self.label_column in self.columns:
            if split != "test":
                values[self.label_column] = self._label(label, values)
            elif not self.is_list:
                values[self.label_column] = -1
        values["idx"] = idx
        made = [values] if self.definition.prepare is None else self._prepared(self.definition.prepare, values)
        for one in made if split != "test" else ():
            self._check_group(one)
        seen.add(key)
        yield from made

    def _check_group(self, values: Mapping[str, Any]) -> None:
        column: str | None = self.definition.settings.get("group_column")
        if column is not None and type(values[column]) not in (str, int):
            raise ValueError(f"the column {column!r} holds {values[column]!r:.80}, which names no group of rows.")

    def _prepared(self, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            made = PREPARE[name](values)
        except (TypeError, AttributeError, KeyError) as error:  # a text where a number belongs, or the like
            raise ValueError(f"the row is not of the benchmark's form ({type(error).__name__}: {error}).") from None
        for row in made:
            check_row_texts(self.format, row)
        return made

    def _label(self, label: Any, values: Mapping[str, Any]) -> Any:
        num_words = None
        if self.kind == "token_classification":
            num_words = len(words_of(self.format, values))
        labels = self.labels
        if self.kind == "multiple_choice":
            present = len(choices_of(self.format, values))
            labels = labels[:present] if labels is not None else tuple(map(str, range(present)))
        score_range = self.definition.settings.get("score_range")
        written = self.written[: len(labels)] if self.written is not None and labels is not None else self.written
        reader = LabelReader(
            self.kind, labels, written, self.is_multi_label, self._separator, score_range, self._forms
        )
        return reader.read(label, num_words)

    def _features(self, columns: dict[str, list[Any]]) -> Features:
        texts = {name for name in self.format.columns if name in columns and name != self.format.choices_column}
        found = {name: pyarrow.array(values).type for name, values in columns.items() if name not in texts}
        known: dict[str, Any] = dict(Features.from_arrow_schema(pyarrow.schema(list(found.items()))))
        for name in texts:  # not looked through: ReCoRD's passages take gigabytes
            known[name] = ListFeature(Value("string")) if _holds_lists(columns[name]) else Value("string")
        features = Features({name: known[name] for name in columns})
        if "idx" in columns and not isinstance(columns["idx"][0], dict):
            features["idx"] = Value("int32")
        if self.label_column in columns:
            one: Any = Value("float32") if self.kind == "regression" else Value("int64")
            if self.labels is not None:
                one = ClassLabel(names=list(self.labels))
            features[self.label_column] = ListFeature(one) if self.is_list else one
        return features


def text_format(settings: Mapping[str, Any]) -> TextFormat:
    """How the rows of a definition become inputs: the part that names columns."""
    return TextFormat(**{field.name: settings[field.name] for field in fields(TextFormat) if field.name in settings})


def _value(row: Mapping[str, Any], column: str) -> Any:
    try:
        return value_at(row, column)
    except KeyError:  # of an object that is null
        raise ValueError(f"there is no column {column!r}, only {', '.join(map(repr, row))}.") from None


def check_types(values: Mapping[str, Any], types: dict[str, type]) -> None:
    """
    Checks that a column's values are of one type, which its first value sets.

    Raises:
        `ValueError`: for a value of another type than the column's, and a number that no column can hold.
    """
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, list):
            alike = set(map(type, value)) == {str}  # then one stands for all: ReCoRD has millions
            for item in value[:1] if alike else value:
                check_types({f"{name}[]": item}, types)
        if isinstance(value, Mapping):
            check_types({f"{name}.{key}": part for key, part in value.items()}, types)
        if types.setdefault(name, type(value)) is not type(value):
            raise ValueError(
                f"the column {name!r} holds {value!r:.80}, a {type(value).__name__} where earlier rows hold a "
                f"{types[name].__name__}."
            )
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError(f"the column {name!r} holds a number of more than 64 bits.")


def checked_text(value: Any, column: str) -> Any:
    """
    The value, of which every text can be written as UTF-8.

    Raises:
        `ValueError`: for half a character, as JSON can write it (`"\\\\ud800"`).
    """
    parts: Iterable[Any] = ()
    if isinstance(value, list):
        parts = value
    elif isinstance(value, Mapping):
        parts = [*value, *value.values()]
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the column {column!r} holds a lone surrogate, which is not text.") from None
    for part in parts:
        checked_text(part, column)
    return value


def _checked_idx(value: Any) -> Any:
    if isinstance(value, Mapping) and not any(isinstance(part, Mapping) for part in value.values()):
        return {key: _checked_idx(part) for key, part in value.items()}
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) < 11:  # AX-b writes strings
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_IDX:
        raise ValueError(f"the column 'idx' holds {value!r:.80}, which is not a row number.")
    return value


def _holds_lists(values: list[Any]) -> bool:
    return any(isinstance(value, list) for value in values)
