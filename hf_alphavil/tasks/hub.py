"""Rows of a task from the Hugging Face Hub, or from anything else that `datasets.load_dataset` takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..files.hub_cache import why_not_in_cache
from ..kinds import kind_of
from .column_advice import column_advice
from .definition import TaskDefinition
from .errors import DataError, Report, raise_error
from .fingerprints import hash_of
from .labels import class_names
from .readers.columns import value_at, whole_again
from .row_builder import SplitBuilder
from .sources import HubSource
from .task import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset

# Part of the rows' fingerprint. Increase it when the code makes other rows from the same dataset.
VERSION = 1


def load_from_hub(
    definition: TaskDefinition,
    splits: Collection[str],
    revision: str | Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
    report: Report = raise_error,
) -> dict[str, Dataset]:
    """
    Loads a task's rows from the Hub.

    Args:
        definition (`TaskDefinition`):
            The task, which has a dataset.
        splits (`Collection[str]`):
            The splits to load.
        revision (`str` or `dict[str, str]`, *optional*):
            The commit, branch or tag to load; a dict gives one for each dataset id, as
            `{"nyu-mll/glue": "bcdcba7"}`.
        cache_dir (`str`, *optional*):
            The folder in which `datasets` keeps its downloads.
        token (`str` or `bool`, *optional*):
            The Hub's token.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.

    Returns:
        `dict[str, Dataset]`: The rows by split.

    Raises:
        DataError: If the dataset cannot be loaded, or if its labels differ from the task's.
    """
    from datasets import load_dataset

    hub = definition.hub
    assert hub is not None
    if isinstance(revision, Mapping):
        revision = revision.get(hub.path)
    place = f"{hub.path} ({hub.name})" if hub.name else hub.path
    try:
        loaded: Any = load_dataset(hub.path, hub.name, revision=revision, cache_dir=cache_dir, token=token)
    except Exception as error:  # whatever a dataset's files, archives and metadata make the libraries below raise
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        reason = f"{why}." if (why := why_not_in_cache(error)) else f"{error}{cause}"
        advice = "Without a network, pass the folder of the official files as data_dir."
        raise DataError(
            f"cannot be loaded from the Hub: {reason}",
            place,
            advice=advice if definition.benchmark is not None else None,
        ) from error
    datasets = {split: loaded[name] for split, name in _source_splits(definition, hub, loaded, place).items()}
    label_column = definition.spec.label_column
    names = _check_label_names(definition, datasets, hub.columns.get(label_column, label_column), place)
    # If one split serves as two of ours, as in AX-b and AX-g, the labels of the test rows must be hidden.
    is_apart = len(set(hub.splits.values())) == len(hub.splits)
    if definition.benchmark is not None and definition.prepare is None and is_apart:
        return {split: rows for split, rows in datasets.items() if split in splits}  # they are the task's rows already

    # If the dataset names its labels, the rows hold ids, whatever the names look like: the name "1" may have the id 0.
    ids = tuple(range(len(names))) if names is not None else None
    builder = SplitBuilder(definition, _hub_columns(definition, hub), written_labels=ids, label_names=names)

    def fault(number: int | None, reason: str) -> DataError:
        return DataError(reason if number is None else f"row {number}: {reason}", place)

    missing = {split: _missing_column(rows, builder, split) for split, rows in datasets.items()}
    lacking = {split: name for split, name in missing.items() if name is not None}
    for split, column in lacking.items():
        reason = f"{split} has no column {column!r}, only {', '.join(datasets[split].column_names)}."
        cure = column_advice(definition, "hub", column) if definition.benchmark is None else None
        report(DataError(reason, place, advice=cure))
    if "train" in datasets.keys() - lacking:
        train = datasets["train"]
        columns = _top_level(builder.wanted("train"), train.column_names)
        builder.learn_labels(_places(train.select_columns(columns), builder), fault, report)
    if "train" in datasets and builder.lacks_labels:  # which is reported: no row can be built
        return {}
    return {
        split: builder.build(
            split,
            # Only these columns, because others may hold images, which would be decoded.
            _places(rows.select_columns(_top_level(builder.columns.values(), rows.column_names)), builder),
            fault,
            report,
            hash_of(VERSION, definition.content, split, rows._fingerprint),
        )
        for split, rows in datasets.items()
        if split in splits and split not in lacking
    }


def _missing_column(rows: Dataset, builder: SplitBuilder, split: str) -> str | None:
    """The first column that a split should have and has not."""
    for column in builder.wanted(split):
        try:
            value_at(rows.features, column)
        except KeyError:
            return column
    return None


def _places(rows: Dataset, builder: SplitBuilder) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers. Whole labels that pandas made floats, because one is missing, are whole again."""
    from datasets import Value

    column = builder.columns.get(builder.label_column)
    feature = rows.features.get(column)
    if column is not None and isinstance(feature, Value) and feature.dtype.startswith("float"):
        labels = whole_again(rows[column][:])
        return ((number, {**row, column: labels[number]}) for number, row in enumerate(rows))
    return enumerate(rows)


def _source_splits(definition: TaskDefinition, hub: HubSource, loaded: Any, place: str) -> dict[str, str]:
    """The dataset's split for each of ours: the definition's, else those of its files, else all that are there."""
    if hub.splits:
        wanted = dict(hub.splits)
    elif definition.files is not None:
        wanted = {split: split for split in definition.files.splits}
    else:
        wanted = {split: split for split in SPLITS if split in loaded}
    for name in wanted.values():
        if name not in loaded:
            raise DataError(f"has no split {name!r}, only {', '.join(loaded)}.", place)
    if not wanted:
        raise DataError(
            f"has none of the splits {', '.join(SPLITS)}, only {', '.join(loaded)}.",
            place,
            advice="Name them below `hub`, as in `splits: {train: ...}`.",
        )
    return wanted


def _hub_columns(definition: TaskDefinition, hub: HubSource) -> dict[str, str]:
    """The dataset's column for each of ours; a benchmark's dataset has our columns."""
    if definition.files is None or definition.benchmark is None:
        return dict(hub.columns)
    return {ours: ours for ours in definition.files.columns} | dict(hub.columns)


def _top_level(columns: Iterable[str], present: list[str]) -> list[str]:
    """The dataset's columns that contain `columns`, which may be nested in them."""
    names = (column if column in present else column.split(".")[0] for column in columns)
    return [name for name in dict.fromkeys(names) if name in present]


def _check_label_names(
    definition: TaskDefinition, datasets: Mapping[str, Dataset], column: str, place: str
) -> tuple[str, ...] | None:
    """The labels that the dataset names: equal in all labelled splits, and to the definition's if it has some."""
    if not kind_of(definition.spec).has_classes:
        return None
    labels = definition.spec.labels
    named = {split: names for split in datasets if (names := class_names(datasets[split], column)) is not None}
    for split, names in named.items():
        if labels is not None and names != tuple(labels):
            raise DataError(
                f"its labels are {', '.join(names)}, not {', '.join(labels)} in this order.",
                place,
                advice="Pass another revision, or correct the task's labels.",
            )
        if split != "test" and names != (first := next(iter(named.values()))):  # a test set's labels are not read
            raise DataError(f"the labels of {split} are {', '.join(names)}, not {', '.join(first)}.", place)
    return next(iter(named.values()), None)
