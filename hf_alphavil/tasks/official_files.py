"""Rows of the official GLUE and SuperGLUE files, in the Hub's columns and label ids."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetInfo, Features, NamedSplit, Value
from datasets.table import InMemoryTable

from .definition import TaskDefinition, simplified
from .errors import DataError
from .fingerprints import hash_of
from .readers import READERS

# Part of the rows' fingerprint: raise it when the code below comes to read other rows from the same files.
VERSION = 1
USE_OFFICIAL_FILE = "Use the benchmark's official file."
MAX_IDX = 2**31 - 1  # the Hub stores `idx` as int32


def load_official_files(definition: TaskDefinition, data_dir: str | Path) -> dict[str, Dataset]:
    """
    Reads a task's official files.

    Args:
        definition (`TaskDefinition`):
            The task.
        data_dir (`str` or `Path`):
            A folder that holds the task's folder, directly or in its benchmark's (`glue`, `superglue`), in any case;
            or the task's folder itself.

    Returns:
        `dict[str, Dataset]`: the rows by split. The test split's labels are -1, as on the Hub.

    Raises:
        [`DataError`]: naming the file, the line, what is wrong and what to do.
    """
    folder = find_task_folder(definition, Path(data_dir).expanduser())
    return {split: _read_split(definition, folder / name, split) for split, name in definition.files.splits.items()}


def find_task_folder(definition: TaskDefinition, data_dir: Path) -> Path:
    """
    The folder that holds a task's official files.

    Raises:
        [`DataError`]: if a folder or a file is missing, with what was looked for.
    """
    files = definition.files
    wanted = list(files.splits.values())
    if not data_dir.is_dir():
        raise DataError("no such folder.", data_dir, advice="Pass the folder of the official files as data_dir.")
    parents = [data_dir, *_subfolders(data_dir, {files.benchmark, f"{files.benchmark}data"})]
    names = {simplified(definition.name)}
    folders = [folder for parent in parents for folder in _subfolders(parent, names)]
    if simplified(data_dir.resolve().name) in names:
        folders.append(data_dir)
    if not folders:
        raise DataError(
            f"no folder of the task {definition.name}; looked for {definition.name} and "
            f"{files.benchmark}/{definition.name}, in any case.",
            data_dir,
            advice=f"Put {', '.join(wanted)} there, or leave data_dir out to load {definition.hub.path} from the Hub.",
        )
    # GLUE and SuperGLUE both have an RTE folder: the one with the right files is meant.
    folder = max(folders, key=lambda candidate: sum((candidate / name).is_file() for name in wanted))
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"no file {', '.join(missing)}; looked for {', '.join(wanted)}.",
            folder,
            advice=f"Add what is missing from the official {files.benchmark.upper()} archive.",
        )
    return folder


def _subfolders(folder: Path, names: set[str]) -> list[Path]:
    return [child for child in sorted(folder.iterdir()) if simplified(child.name) in names and child.is_dir()]


def _read_split(definition: TaskDefinition, file: Path, split: str) -> Dataset:
    files = definition.files
    # Test files have no labels; where one has them after all, they are not for us to see.
    wanted = {column: name for column, name in files.columns.items() if column != "label" or split != "test"}
    rows: dict[str, list[Any]] = {column: [] for column in (*files.columns, "idx")}
    reader = READERS[files.format]
    for number, row in enumerate(reader(file, wanted.values(), files.headers.get(split))):
        line, values = row
        value: Any
        for column in rows:
            if column == "idx":
                value = _idx(values[wanted["idx"]], file, line) if "idx" in wanted else number
            elif column != "label":
                value = _text(values[wanted[column]], column, file, line)
            elif split == "test":
                value = -1
            elif files.labels is None:
                value = _score(values[wanted["label"]], definition.settings.get("score_range"), file, line)
            else:
                value = _label(values[wanted["label"]], files.labels, file, line)
            rows[column].append(value)
    features = _features(definition, rows)
    # The constructor and not `from_dict`: a fingerprint of the content makes the next run find what this one cached.
    return Dataset(
        InMemoryTable.from_pydict(rows, schema=features.arrow_schema),
        info=DatasetInfo(features=features),
        split=NamedSplit(split),
        fingerprint=hash_of(VERSION, definition.content, split, file.read_bytes()),
    )


def _features(definition: TaskDefinition, columns: dict[str, list[Any]]) -> Features:
    labels = definition.settings.get("labels")
    types: dict[str, Any] = {column: Value("string") for column in columns}
    types["label"] = ClassLabel(names=list(labels)) if labels is not None else Value("float32")
    types["idx"] = Value("int32")
    return Features(types)


def _text(value: Any, column: str, file: Path, line: int) -> str:
    if not isinstance(value, str):
        raise DataError(f"the column {column!r} holds {value!r}, which is not a string.", file, line)
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can write half a character: "\ud800"
        raise DataError(f"the column {column!r} holds a lone surrogate, which is not text.", file, line) from None
    return value


def _idx(value: Any, file: Path, line: int) -> int:
    if type(value) is not int or not 0 <= value <= MAX_IDX:
        raise DataError(f"the column 'idx' holds {value!r}, which is not a row number.", file, line)
    return value


def _label(value: Any, labels: tuple[str | int | bool, ...], file: Path, line: int) -> int:
    for number, label in enumerate(labels):
        if type(value) is type(label) and value == label:  # by type too: True == 1
            return number
    raise DataError(
        f"the label {value!r} is none of {', '.join(map(repr, labels))}.",
        file,
        line,
        USE_OFFICIAL_FILE,
    )


def _score(value: Any, score_range: tuple[float, float] | None, file: Path, line: int) -> float:
    low, high = score_range if score_range is not None else (-math.inf, math.inf)
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not (math.isfinite(score) and low <= score <= high):
        raise DataError(
            f"the label {value!r} is no number from {low:g} to {high:g}.",
            file,
            line,
            USE_OFFICIAL_FILE,
        )
    return score
