"""Reads from the columns of a `datasets.Dataset` what a task is: its kind, texts, label column and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..data.tables import is_of_library, is_table
from . import KINDS, find_kind
from .labels import SeenLabels, listed
from .predictions import IGNORED
from .sequence_classification import MULTI_LABEL

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")
LABEL_COLUMNS = ("label", "labels")
#: Columns that number rows.
ROW_NUMBERS = frozenset({"id", "idx", "index", "guid", "uid"})
#: The columns of the texts of a pair, in the benchmarks' order.
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("question", "passage"), ("text1", "text2"),
)  # fmt: skip
#: Settings that say what a task reads.
TEXT_SETTINGS = ("text_columns", "text_templates", "context_template", "choice_columns", "choices_column")


def is_dataset(value: Any) -> bool:
    """Whether a value is a `datasets.Dataset` or a `datasets.DatasetDict`."""
    if isinstance(value, Mapping):
        return bool(value) and all(map(is_of_library, value.values()))
    return is_of_library(value)


def splits_of(name: str, dataset: Any) -> dict[str, Dataset]:
    """
    The splits of a dataset.

    Args:
        name (`str`): The task's name, for messages.
        dataset (`Dataset` or `DatasetDict`): The rows. A dataset without splits is the training rows.

    Raises:
        ValueError: If there are splits, and none of them is `train`, `validation` or `test`.
    """
    if not isinstance(dataset, Mapping):
        return {"train": dataset}
    known = {split: dataset[split] for split in SPLITS if split in dataset}
    if not known:
        raise ValueError(
            f"task {name!r}: the dataset has the splits {', '.join(map(repr, dataset))}: name the training rows "
            "'train', and others 'validation' and 'test'"
        )
    return known


def is_tokenized(rows: Dataset) -> bool:
    """Whether rows have the model's inputs already."""
    return "input_ids" in rows.column_names or "inputs_embeds" in rows.column_names


def is_raw(rows: Any) -> bool:
    """Whether an object is a `datasets.Dataset` of texts that are not tokenised yet."""
    if not is_table(rows) or is_tokenized(rows):
        return False
    return any(_is_text(feature) or _is_text(item_of(feature)) for feature in rows.features.values())


def names_ids(rows: Dataset, column: str) -> bool:
    """Whether rows name their label ids, as a `datasets.ClassLabel` does."""
    feature = rows.features.get(column)
    return dtype_of(item_of(feature) or feature) == "class"


def guess_settings(name: str, rows: Dataset, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Completes a task's settings by what its rows' columns say.

    Args:
        name (`str`): The task's name, for messages.
        rows (`datasets.Dataset`): The task's rows, raw.
        given (`Mapping[str, Any]`): The settings that are known. They are kept.

    Returns:
        `dict[str, Any]`: The given settings, with `kind`, `problem_type`, `label_column` and `text_columns` where
        they were missing. Labels are not among them: see [`labels_in`].

    Raises:
        ValueError: If the columns may mean more than one task. The message names them and says what to pass.
    """
    settings = dict(given)
    kind = settings.get("kind")
    if kind is None or find_kind(kind).reads_labels:
        label_column = settings.get("label_column") or _label_column(name, rows, is_needed=kind is None)
        if label_column is not None:
            settings["label_column"] = label_column
    label = rows.features.get(settings.get("label_column"))
    if kind is None:
        if label is None:
            raise _unclear(name, rows, f"there is no column {settings['label_column']!r}", "label_column='...'")
        settings |= _kind_of_label(name, rows, settings, label)
    if not any(settings.get(setting) for setting in TEXT_SETTINGS):
        settings["text_columns"] = _text_columns(name, rows, settings)
    return settings


def labels_in(
    rows: Dataset, kind: str, problem_type: str | None, column: str
) -> tuple[tuple[str, ...], tuple[Any, ...] | None] | None:
    """
    The labels of rows, of a task that names none.

    Args:
        rows (`datasets.Dataset`): The training rows.
        kind (`str`): The task's kind.
        problem_type (`str`, *optional*): The task's problem type.
        column (`str`): The column of the labels.

    Returns:
        `tuple[tuple[str, ...], tuple[Any, ...]]`, *optional*: The names in id order, and what the rows hold for each
        (`None`, if they hold the ids). `None` if rows have no such column.

    Raises:
        ValueError: If the rows' values cannot be labels.
    """
    if column not in rows.column_names:
        return None
    feature = rows.features[column]
    if names_ids(rows, column):
        return tuple((item_of(feature) or feature).names), None
    found = find_kind(kind, problem_type)
    if found.reads_flags and dtype_of(item_of(feature)) in ("float", "bool"):
        raise ValueError(f"the column {column!r} holds a flag for each label: pass their names as `labels`")
    if dtype_of(feature) == "float" or dtype_of(item_of(feature)) == "float":
        raise ValueError(f"the column {column!r} holds numbers, which are no labels: pass kind='regression'")
    seen = SeenLabels(found.reads_flags)
    for value in rows.with_format(None)[column][:]:
        parts = found.split_labels(value, ",")
        seen.add([part for part in parts if part != IGNORED] if is_tokenized(rows) else parts)
        if any(type(part) is int and part == -1 for part in parts):
            raise ValueError(f"the column {column!r} holds -1, which means that a label is missing")
    names, written = seen.names()
    return names, None if written == tuple(range(len(written))) else written


def head_in(name: str, dataset: Any) -> dict[str, Any]:
    """
    The description of the head that a dataset needs.

    Args:
        name (`str`): The task's name.
        dataset (`Dataset` or `DatasetDict`): Its rows, raw or tokenised.

    Returns:
        `dict[str, Any]`: `kind`, `labels` and `problem_type`.

    Raises:
        ValueError: If the columns do not say which head.
    """
    rows = next(iter(splits_of(name, dataset).values()))
    settings = _tokenized_settings(name, rows) if is_tokenized(rows) else guess_settings(name, rows, {})
    kind, problem_type = settings["kind"], settings.get("problem_type")
    labels = None
    if find_kind(kind, problem_type).has_classes:
        try:
            found = labels_in(rows, kind, problem_type, settings["label_column"])
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None
        labels, written = found if found is not None else (None, None)
        if written is not None and is_tokenized(rows):
            raise ValueError(
                f"task {name!r}: the labels of tokenised rows are {listed(written)}, not ids from 0: pass ids, or the "
                "head's labels, as {'kind': ..., 'labels': [...]}"
            )
    return {"kind": kind, "labels": list(labels) if labels is not None else None, "problem_type": problem_type}


def item_of(feature: Any) -> Any:
    """The feature of a list's items; `None` if it is not a list."""
    if isinstance(feature, list):
        return feature[0]
    return getattr(feature, "feature", None)


def dtype_of(feature: Any) -> str:
    """The type of a column's values: `"class"`, `"text"`, `"float"`, `"int"`, `"bool"` or `"other"`."""
    if hasattr(feature, "names"):
        return "class"
    dtype = str(getattr(feature, "dtype", "")) if item_of(feature) is None else ""
    if "string" in dtype:
        return "text"
    return next((kind for kind in ("float", "int", "bool") if dtype.removeprefix("u").startswith(kind)), "other")


def _label_column(name: str, rows: Dataset, is_needed: bool) -> str | None:
    if known := [column for column in LABEL_COLUMNS if column in rows.column_names]:
        if len(known) > 1:
            raise _unclear(name, rows, "both 'label' and 'labels' may be the labels", "label_column='label'")
        return known[0]
    named = [column for column in rows.column_names if names_ids(rows, column)]
    if len(named) == 1:
        return named[0]
    if not is_needed:
        return None
    reason = f"{', '.join(map(repr, named)) or 'none of the columns'} may be the labels"
    raise _unclear(name, rows, reason, "label_column='...', or kind='masked_lm' for texts without labels")


def _kind_of_label(name: str, rows: Dataset, settings: Mapping[str, Any], label: Any) -> dict[str, Any]:
    lists = _columns(rows, settings, lists=True)
    if (problem_type := settings.get("problem_type")) is not None:
        fitting = next((kind.name for kind in KINDS.values() if problem_type in kind.problem_types), None)
        return {} if fitting is None else {"kind": fitting}
    if item_of(label) is None:
        if dtype_of(label) == "other":
            raise _unclear(name, rows, f"the label column is {label}", "label_column='...'")
        if lists and not any(settings.get(setting) for setting in ("text_columns", "text_templates")):
            reason = f"{', '.join(map(repr, lists))} may be the choices of a multiple choice"
            advice = "kind='multiple_choice' with context_template and choices_column, or text_columns=('...',)"
            raise _unclear(name, rows, reason, advice)
        return {"kind": "regression" if dtype_of(label) == "float" else "sequence_classification"}
    if lists and dtype_of(item_of(label)) != "float":
        return {"kind": "token_classification"}
    return {"kind": "sequence_classification", "problem_type": MULTI_LABEL}


def _text_columns(name: str, rows: Dataset, settings: Mapping[str, Any]) -> tuple[str, ...]:
    kind = settings["kind"]
    texts = _columns(rows, settings)
    if kind == "multiple_choice":
        advice = "context_template='{...}' and choice_columns=('...', '...') or choices_column='...'"
        raise _unclear(name, rows, "the columns of the choices are not known", advice)
    if kind == "token_classification":
        texts = _columns(rows, settings, lists=True) or texts
    if len(texts) == 1:
        return (texts[0],)
    if tuple(texts) in PAIRS or tuple(reversed(texts)) in PAIRS:
        return tuple(texts) if tuple(texts) in PAIRS else tuple(reversed(texts))
    reason = f"{', '.join(map(repr, texts)) or 'none of the columns'} may be the texts"
    raise _unclear(name, rows, reason, "text_columns=('...',), with two names for a pair of texts")


def _columns(rows: Dataset, settings: Mapping[str, Any], lists: bool = False) -> list[str]:
    """The columns of texts, or those of lists of texts, that are not labels and do not number rows."""
    others = ROW_NUMBERS | {settings.get("label_column"), settings.get("group_column")}
    return [
        column
        for column, feature in rows.features.items()
        if column not in others and _is_text(item_of(feature) if lists else feature)
    ]


def _tokenized_settings(name: str, rows: Dataset) -> dict[str, Any]:
    """The settings of tokenised rows, by their labels and the shape of their inputs."""
    column = next((column for column in LABEL_COLUMNS if column in rows.column_names), None)
    label = rows.features.get(column)
    advice = "a Task, or the head's description {'kind': ..., 'labels': [...]}, as the value in `tasks`"
    if label is None or not len(rows):
        raise ValueError(
            f"task {name!r}: its tokenised rows have no labels, only {', '.join(rows.column_names)}: pass {advice}"
        )
    is_of_choices = item_of(item_of(rows.features.get("input_ids"))) is not None
    if not is_of_choices and item_of(label) is None and dtype_of(label) in ("class", "int", "bool"):
        return {"kind": "sequence_classification", "label_column": column}
    if not is_of_choices and dtype_of(label) == "float":
        return {"kind": "regression", "label_column": column}
    first = rows.with_format(None)[0]
    is_of_tokens = item_of(label) is not None and len(first[column]) == len(first.get("input_ids", ()))
    if not is_of_choices and is_of_tokens and dtype_of(item_of(label)) in ("class", "int"):
        return {"kind": "token_classification", "label_column": column}
    raise ValueError(f"task {name!r}: its labels of the type {label} do not say which head they need: pass {advice}")


def _is_text(feature: Any) -> bool:
    return dtype_of(feature) == "text"


def _unclear(name: str, rows: Dataset, reason: str, advice: str) -> ValueError:
    columns = ", ".join(f"{column} ({_in_words(feature)})" for column, feature in rows.features.items())
    return ValueError(
        f"task {name!r}: {reason}, among the columns {columns}: pass Task.from_dataset({name!r}, dataset, {advice})"
    )


def _in_words(feature: Any) -> str:
    item = item_of(feature)
    if item is not None:
        return f"a list of {_in_words(item)}"
    return "ClassLabel" if hasattr(feature, "names") else str(getattr(feature, "dtype", feature))
