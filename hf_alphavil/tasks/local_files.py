"""Rows of local files: the official GLUE and SuperGLUE archives, and the user's files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .column_advice import column_advice
from .definition import TaskDefinition
from .definition_reader import simplified
from .errors import DataError, Report, raise_error
from .fingerprints import hash_of
from .readers import READERS, SUFFIXES
from .readers.columns import MissingColumnError
from .readers.lines import read_bytes
from .row_builder import SplitBuilder
from .sources import FileSource

if TYPE_CHECKING:
    from datasets import Dataset

# Part of the rows' fingerprint. Increase it when the code reads other rows from the same files.
VERSION = 2


class MissingFilesError(DataError):
    """The folder of the official files lacks a task's folder, or some of its files."""


class MissingFolderError(MissingFilesError):
    """The folder of the official files lacks a task's folder."""


def load_files(
    definition: TaskDefinition,
    data_dir: str | Path | None,
    splits: Collection[str],
    report: Report = raise_error,
) -> dict[str, Dataset]:
    """
    Reads a task's files.

    Args:
        definition (`TaskDefinition`):
            The task, which has files.
        data_dir (`str` or `Path`, *optional*):
            For a benchmark's task: a folder that contains the task's folder, directly or in its benchmark's (`glue`,
            `superglue`), in any case; or the task's folder itself. A user's files are relative to the YAML file.
        splits (`Collection[str]`):
            The splits to read.
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.

    Returns:
        `dict[str, Dataset]`: The rows by split. The test split's labels are -1, as on the Hub.

    Raises:
        DataError: If a file cannot be used. The message gives the file, the line, what is wrong and what to do.
    """
    files = definition.files
    assert files is not None
    if files.benchmark is None:
        folder = definition.source.file.parent
    else:
        assert data_dir is not None
        folder = find_task_folder(definition, Path(data_dir).expanduser())
    builder = SplitBuilder(definition, files.columns, files.labels)
    if builder.labels is None and "train" in files.splits:
        _learn_labels(definition, builder, folder / files.splits["train"], report)
    _check_apart(definition, files, folder)
    loaded = {}
    for split, name in files.splits.items():
        if split not in splits:
            continue
        if builder.lacks_labels and "train" in files.splits:  # which is reported: no row can be built
            for _ in _read(definition, folder / name, builder.wanted(split), split, report):
                pass
        else:
            loaded[split] = _load_split(definition, files, builder, folder / name, split, report)
    return loaded


def _learn_labels(definition: TaskDefinition, builder: SplitBuilder, file: Path, report: Report) -> None:
    files = definition.files
    assert files is not None
    faults: list[DataError] = []  # reported when the split is built, if it is
    try:
        rows = _read(definition, file, builder.wanted("train"), "train", faults.append)
        builder.learn_labels(rows, lambda place, reason: _fault(files, file, place, reason), report)
    except DataError as error:
        for fault in faults or [error]:
            report(fault)


def _check_apart(definition: TaskDefinition, files: FileSource, folder: Path) -> None:
    """Refuses one file for training and validation: its scores would be those of the training rows."""
    train, validation = ((folder / files.splits.get(split, "")).resolve() for split in ("train", "validation"))
    if train == validation and {"train", "validation"} <= set(files.splits):
        raise definition.source.fault(
            f"the training and the validation rows of the task {definition.key!r} are one file, "
            f"{files.splits['validation']!r}: write another, or `validation_fraction` instead.",
            definition.key,
            "files",
            "splits",
        )


def find_task_folder(definition: TaskDefinition, data_dir: Path) -> Path:
    """
    Finds the folder with a benchmark task's official files.

    Raises:
        DataError: If a folder or a file is missing, with the names that were looked for.
    """
    files, hub = definition.files, definition.hub
    assert files is not None
    assert files.benchmark is not None
    wanted = list(files.splits.values())
    if not data_dir.is_dir():
        reason = "is a file, not a folder." if data_dir.exists() else "no such folder."
        raise DataError(reason, data_dir, advice="Pass the folder of the official files as data_dir.")
    parents = [data_dir, *_subfolders(data_dir, {files.benchmark, f"{files.benchmark}data"})]
    official = files.folder or definition.name
    names = {simplified(official)}
    folders = [folder for parent in parents for folder in _subfolders(parent, names)]
    if simplified(data_dir.resolve().name) in names:
        folders.append(data_dir)
    if not folders:
        raise MissingFolderError(
            f"no folder of the task {definition.name}; looked for {official} and {files.benchmark}/{official}, in any "
            "case.",
            data_dir,
            advice=f"Put {', '.join(dict.fromkeys(wanted))} there, or leave data_dir out to load "
            f"{hub.path if hub is not None else 'it'} from the Hub.",
        )
    # GLUE and SuperGLUE both have an RTE folder: choose the one with the right files.
    folder = max(folders, key=lambda candidate: sum((candidate / name).is_file() for name in wanted))
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise MissingFilesError(
            f"no file {', '.join(missing)}; looked for {', '.join(wanted)}.",
            folder,
            advice=f"Add what is missing from the official {files.benchmark.upper()} archive.",
        )
    return folder


def _subfolders(folder: Path, names: set[str]) -> list[Path]:
    return [child for child in sorted(folder.iterdir()) if simplified(child.name) in names and child.is_dir()]


def _load_split(
    definition: TaskDefinition, files: FileSource, builder: SplitBuilder, file: Path, split: str, report: Report
) -> Dataset:
    rows = _read(definition, file, builder.wanted(split), split, report)
    fingerprint = hash_of(VERSION, definition.content, split, read_bytes(file))
    return builder.build(split, rows, lambda place, reason: _fault(files, file, place, reason), report, fingerprint)


def _read(
    definition: TaskDefinition, file: Path, columns: Collection[str], split: str, report: Report
) -> Iterator[tuple[int, dict[str, Any]]]:
    files = definition.files
    assert files is not None
    form = _format_of(files, file)
    if form is None:
        raise DataError(
            f"its suffix {file.suffix!r} is none of {', '.join(SUFFIXES)}.",
            file,
            advice="Write `format` below `files`, or rename the file.",
        )
    # A test set needs every row: after a row that is left out, all predictions would have the wrong index.
    options: dict[str, Any] = {"skip_short_rows": True} if files.skip_short_rows and split != "test" else {}
    read: Any = partial(READERS[form], file, columns, files.headers.get(split), **options)
    return _blaming_keys(definition, read, report)


def _blaming_keys(
    definition: TaskDefinition, read: Callable[[Report], Iterator[tuple[int, dict[str, Any]]]], report: Report
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that a reader reads. The error of a missing column names the key to blame."""
    try:
        yield from read(lambda error: report(_with_key(definition, error)))
    except MissingColumnError as error:
        raise _with_key(definition, error) from None


def _with_key(definition: TaskDefinition, error: DataError) -> DataError:
    """The error, with the key to blame if it is that of a missing column."""
    if not isinstance(error, MissingColumnError):
        return error
    if definition.benchmark is not None:
        advice = "Use the benchmark's official file."
    else:
        advice = column_advice(definition, "files", error.column)
    return DataError(error.reason, error.file, error.line, f"{error.advice} {advice}" if error.advice else advice)


def _format_of(files: FileSource, file: Path) -> str | None:
    return files.format or SUFFIXES.get(file.suffix.lower())


def _fault(files: FileSource, file: Path, place: int | None, reason: str) -> DataError:
    advice = "Use the benchmark's official file." if files.benchmark is not None else None
    if place is not None and _format_of(files, file) == "parquet":  # has rows and no lines
        return DataError(f"row {place}: {reason}", file, advice=advice)
    return DataError(reason, file, place, advice)
