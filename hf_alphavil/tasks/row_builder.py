"""Turns a source's rows into a split of a task, in the same way for every source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..kinds import kind_of
from ..kinds.labels import LabelReader, SeenLabels
from .definition import TaskDefinition
from .errors import DataError, Report
from .fingerprints import hash_of
from .prepare import PREPARE
from .readers.columns import value_at

if TYPE_CHECKING:
    from datasets import Dataset, Features

MAX_IDX = 2**31 - 1  # the Hub stores `idx` as int32
#: Columns that test sets lack, or that must not be read in them.
ANSWER_COLUMNS = ("answers",)

#: A place in the source (a line or a row number) and the row.
Place = tuple[int, Mapping[str, Any]]
#: Makes an error from a place, if there is one, and a reason.
Fault = Callable[[int | None, str], DataError]


class SplitBuilder:
    """
    Builds the splits of one task.

    Args:
        definition (`TaskDefinition`):
            The task.
        columns (`dict[str, str]`):
            The source's column for each of ours, if they differ.
        written_labels (`tuple`, *optional*):
            What the source writes for each label id.
        label_names (`tuple[str, ...]`, *optional*):
            The labels' names, if the source has them and the definition does not.
    """

    def __init__(
        self,
        definition: TaskDefinition,
        columns: Mapping[str, str],
        written_labels: tuple[Any, ...] | None = None,
        label_names: tuple[str, ...] | None = None,
    ) -> None:
        spec = definition.spec
        self.definition, self.spec, self.kind = definition, spec, kind_of(spec)
        self.label_column = spec.label_column
        self.labels = spec.labels or label_names or self.kind.labels_of(spec)
        self.written = written_labels
        self._without_label: set[int] = set()  # places of training rows that are reported already
        self.columns = dict(columns)
        if definition.prepare is None:
            named = [*spec.input_columns, *([spec.group_column] if spec.group_column else [])]
            named += [self.label_column] if self.kind.reads_labels else []
            self.columns |= {name: name for name in named if name not in self.columns}

    def wanted(self, split: str) -> list[str]:
        """`list[str]`: The source's columns that a split must have."""
        hidden = {self.label_column, *ANSWER_COLUMNS} if split == "test" else set()
        return [theirs for ours, theirs in self.columns.items() if ours not in hidden]

    def learn_labels(self, rows: Iterable[Place], fault: Fault, report: Report) -> None:
        """
        Takes the labels from training rows if neither the task nor the source names them.

        Args:
            rows (`Iterable[tuple[int, dict]]`):
                Places and training rows in the source's columns.
            fault (`Callable`): Makes an error from a place and a reason.
            report (`Callable`):
                Called with the error of every row whose value cannot be a label.

        Raises:
            DataError: If the values together cannot be the labels of a task.
        """
        if not self.lacks_labels:
            return
        seen, has_labels = SeenLabels(self.kind.reads_flags), False
        for place, row in rows:
            try:
                value = _value(row, self.columns[self.label_column])
                seen.add(self.kind.split_labels(value, self._separator))
                has_labels = True
            except ValueError as error:
                self._without_label.add(place)
                report(fault(place, str(error)))
        if self._without_label and not has_labels:  # what is reported says why
            return
        try:
            self.labels, self.written = seen.names()
        except ValueError as error:
            raise fault(None, str(error)) from None

    def build(self, split: str, rows: Iterable[Place], fault: Fault, report: Report, fingerprint: str) -> Dataset:
        """
        Builds a split.

        Args:
            split (`str`):
                `"train"`, `"validation"` or `"test"`, whose labels are not read.
            rows (`Iterable[tuple[int, dict]]`):
                Places and rows in the source's columns.
            fault (`Callable`): Makes an error from a place and a reason.
            report (`Callable`):
                Called with the error of every faulty row.
            fingerprint (`str`):
                A hash of the source's content.

        Returns:
            `datasets.Dataset`: The rows in the task's columns.
        """
        from datasets import Dataset, DatasetInfo, NamedSplit
        from datasets.table import InMemoryTable

        if self.lacks_labels and split != "test":
            raise self.definition.source.fault(
                f"nothing names the labels of the task {self.definition.key!r}: write `labels`, or training rows.",
                self.definition.key,
            )
        columns: dict[str, list[Any]] = {}
        seen: set[Any] = set()
        types: dict[str, type] = {}
        self._label_format: list[str] = []  # of this split
        for number, (place, row) in enumerate(rows):
            if split == "train" and place in self._without_label:
                continue
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
        # Not `from_dict`, because a fingerprint of the content lets the next run find what this run cached.
        return Dataset(
            InMemoryTable.from_pydict(columns, schema=features.arrow_schema),
            info=DatasetInfo(features=features),
            split=NamedSplit(split),
            # The labels may come from other rows than these.
            fingerprint=hash_of(fingerprint, self.labels, self.written),
        )

    @property
    def lacks_labels(self) -> bool:
        """`bool`: Whether the label names are still unknown and can come from the training rows."""
        return self.labels is None and self.kind.learns_labels

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
            raise ValueError(f"an earlier row has the idx {idx} too.")
        if self.definition.prepare is None:
            self.kind.check_texts_of_row(self.spec, values)  # before words and choices are counted for the label
        if self.label_column in self.columns:
            if split != "test":
                values[self.label_column] = self._label(label, values)
            elif not self.kind.has_label_lists:
                values[self.label_column] = -1
        values["idx"] = idx
        made = [values] if self.definition.prepare is None else self._prepared(self.definition.prepare, values)
        for one in made if split != "test" else ():
            self._check_group(one)
        seen.add(key)
        yield from made

    def _check_group(self, values: Mapping[str, Any]) -> None:
        column = self.spec.group_column
        if column is not None and type(values[column]) not in (str, int):
            raise ValueError(f"the column {column!r} holds {values[column]!r:.80}, which names no group of rows.")

    def _prepared(self, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            made = PREPARE[name](values)
        except (TypeError, AttributeError, KeyError) as error:  # a text where a number belongs, or the like
            raise ValueError(f"the row is not of the benchmark's form ({type(error).__name__}: {error}).") from None
        for row in made:
            self.kind.check_texts_of_row(self.spec, row)
        return made

    def _label(self, label: Any, values: Mapping[str, Any]) -> Any:
        reader = LabelReader(self.labels, self.written, self._separator, self._label_format)
        return self.kind.read_label(reader, self.spec, label, values)

    def _features(self, columns: dict[str, list[Any]]) -> Features:
        import pyarrow
        from datasets import Features, List, Value

        texts = {name for name in self.spec.input_columns if name in columns and name != self.spec.choices_column}
        found = {name: pyarrow.array(values).type for name, values in columns.items() if name not in texts}
        known: dict[str, Any] = dict(Features.from_arrow_schema(pyarrow.schema(list(found.items()))))
        for name in texts:  # without looking at the texts: ReCoRD's passages take gigabytes
            known[name] = List(Value("string")) if _holds_lists(columns[name]) else Value("string")
        features = Features({name: known[name] for name in columns})
        if "idx" in columns and not isinstance(columns["idx"][0], dict):
            features["idx"] = Value("int32")
        if self.label_column in columns:
            features[self.label_column] = self.kind.label_feature(self.labels)
        return features


def _value(row: Mapping[str, Any], column: str) -> Any:
    try:
        return value_at(row, column)
    except KeyError:  # in an object that is null
        raise ValueError(f"there is no column {column!r}, only {', '.join(map(repr, row))}.") from None


def check_types(values: Mapping[str, Any], types: dict[str, type]) -> None:
    """
    Checks that all values of a column have the type of its first.

    Raises:
        ValueError: If a value has another type, or is a number of more than 64 bits.
    """
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, list):
            alike = set(map(type, value)) == {str}  # then checking one is enough: ReCoRD has millions
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
    The value, after a check that every text in it can be written as UTF-8.

    Raises:
        ValueError: If it contains half a character, which JSON can encode (`"\\\\ud800"`).
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
