"""A leaderboard's complete set of prediction files, zipped."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic_file import atomic_write
from ..kinds import SubmissionFormat, kind_of
from .definition import TaskDefinition
from .errors import DataError
from .loading import load_tasks
from .readers.lines import read_lines
from .registry import BENCHMARKS, benchmark_definitions
from .submission import (
    GLUE_HEADER,
    json_lines,
    num_predictions,
    submission_format,
    tsv_lines,
    write_submission,
)
from .task import Task

#: The origin of a placeholder, which replaces a missing prediction file.
PLACEHOLDER = "placeholder"


def make_submission(
    benchmark: str, paths: Iterable[str | Path], output: str | Path, data_dir: str | Path | None = None
) -> dict[str, str]:
    """
    Zips one prediction file of every task of a benchmark.

    A task without a file gets a placeholder: a legal file that predicts the first label throughout (a regression's
    lowest score, in ReCoRD a word that is no answer). Leaderboards take only complete sets.

    Args:
        benchmark (`str`):
            `"glue"` or `"superglue"`.
        paths (`Iterable[str]` or `Iterable[Path]`):
            Files that [`write_submission`] wrote, or folders of them, such as the `predictions` of several runs. Files
            of the other benchmark are ignored.
        output (`str` or `Path`):
            The zip file, or an existing folder for `<benchmark>.zip`. The file is written atomically.
        data_dir (`str` or `Path`, *optional*):
            The folder of the official files. A placeholder of MultiRC needs the ids of its test questions; without
            this folder they come from the Hub.

    Returns:
        `dict[str, str]`: The origin of each file in the zip: its path, or `"placeholder"`.

    Raises:
        ValueError: If the benchmark is unknown or two files have the same name.
        DataError: If the leaderboard would refuse a prediction file, or if test questions cannot be loaded.
    """
    definitions = _definitions(benchmark)
    output = Path(output)
    if output.is_dir():
        output = output / f"{benchmark}.zip"
    sources = [Path(path) for path in paths]
    for source in sources:
        if not source.exists():
            raise DataError("no such file or folder.", source, advice="Pass prediction files, or folders of them.")
    found = {
        definition.key: _find(definition, sources) for definition in definitions
    }  # first, so that a faulty file stops it
    contents: dict[str, bytes] = {}
    origins: dict[str, str] = {}
    for definition in definitions:
        file, name = found[definition.key], _form(definition).file_name
        contents[name] = _placeholder(definition, data_dir) if file is None else file.read_bytes()
        origins[name] = PLACEHOLDER if file is None else str(file)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    atomic_write(output, stream.getvalue())
    return origins


def check_test_sets(benchmark: str, tasks: Mapping[str, Task], data_dir: str | Path | None = None) -> None:
    """
    Checks, before hours of training, that the predictions of `tasks` will make a complete set.

    Args:
        benchmark (`str`):
            `"glue"` or `"superglue"`.
        tasks (`dict[str, Task]`):
            The tasks that will be predicted, by name.
        data_dir (`str` or `Path`, *optional*):
            As for [`make_submission`].

    Raises:
        ValueError: If the benchmark is unknown, or a task's file has the name of one of the benchmark's files.
        DataError: If a test set is not the official one, or a placeholder cannot be made.
    """
    definitions = _definitions(benchmark)
    keys = {_form(definition).file_name: definition.key for definition in definitions}
    for name, task in tasks.items():
        file_name = submission_format(task).file_name
        if keys.get(file_name, name) != name:
            raise ValueError(f"the task {name} would be predicted into {file_name}, {keys[file_name]}'s: rename it")
    for definition in definitions:
        if definition.key not in tasks:
            _placeholder(definition, data_dir)
            continue
        count, wanted = num_predictions(tasks[definition.key]), _form(definition).test_rows
        if wanted is not None and count != wanted:
            raise DataError(
                f"the test set of {definition.name} asks for {count} predictions, and the leaderboard for {wanted}.",
                data_dir,
                advice="Load the official test set.",
            )


def _definitions(benchmark: str) -> list[TaskDefinition]:
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}; pass one of {', '.join(BENCHMARKS)}")
    return benchmark_definitions(benchmark)


def _form(definition: TaskDefinition) -> SubmissionFormat:
    form = definition.spec.submission
    assert form is not None  # every task of a benchmark has one
    return form


def _names(definition: TaskDefinition) -> tuple[str | int, ...]:
    """The leaderboard's name for each label id; empty for scores."""
    labels = _form(definition).labels
    return labels if labels is not None else kind_of(definition.spec).labels_of(definition.spec) or ()


def _find(definition: TaskDefinition, sources: list[Path]) -> Path | None:
    """A task's prediction file, checked; `None` if there is none."""
    name = _form(definition).file_name
    files = [source / name if source.is_dir() else source for source in sources]
    found = [file for file in files if file.name == name and file.is_file()]
    if len(found) > 1:
        raise ValueError(f"two files of {definition.name}: {found[0]} and {found[1]}; leave one of them out")
    for file in found:
        check_predictions(definition, file)
    return found[0] if found else None


def describe_submission(origins: dict[str, str], output: str | Path) -> str:
    """Reports what [`make_submission`] did, for a terminal."""
    width = max(map(len, origins))
    lines = [
        f"{name:<{width}}  {'PLACEHOLDER' if origin == PLACEHOLDER else origin}" for name, origin in origins.items()
    ]
    number = list(origins.values()).count(PLACEHOLDER)
    if number:
        lines.append(
            f"{number} of {len(origins)} files are placeholders: their scores on the leaderboard mean nothing"
        )
    return "\n".join([f"wrote {output}", *lines])


def check_predictions(definition: TaskDefinition, file: Path) -> None:
    """
    Checks that a leaderboard would take a prediction file.

    Raises:
        DataError: If it would not. The message gives file, line and what is wrong.
    """
    form = _form(definition)
    lines = read_lines(file)
    if file.suffix == ".tsv":
        if lines[0] != GLUE_HEADER:
            raise DataError(f"the header is {lines[0]!r}, not {GLUE_HEADER!r}.", file, 1)
        rows = [line.split("\t") for line in lines[1:]]
        for number, row in enumerate(rows):
            if len(row) != 2 or row[0] != str(number):
                raise DataError(f"expected the index {number} and a prediction, found {row}.", file, number + 2)
            _check_label(definition, row[1], file, number + 2)
        count = len(rows)
    else:
        count = _check_json_lines(definition, lines, file)
    if form.test_rows is not None and count != form.test_rows:
        raise DataError(
            f"holds {count} predictions; {definition.name}'s test set has {form.test_rows}.",
            file,
            advice="Predict the whole test set, without max_eval_samples.",
        )


def _check_json_lines(definition: TaskDefinition, lines: list[str], file: Path) -> int:
    seen: set[int] = set()
    count = 0
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            index = row["idx"]
            labels = _labels_of(definition, row)
        except (ValueError, KeyError, TypeError):
            raise DataError(f"is not a prediction of {definition.name}: {line[:80]!r}.", file, number) from None
        if type(index) is not int or index in seen:
            raise DataError(f"the idx {index!r} is not a number, or occurs twice.", file, number)
        seen.add(index)
        for label in labels:
            _check_label(definition, label, file, number)
        count += len(labels)
    return count


def _labels_of(definition: TaskDefinition, row: dict[str, Any]) -> list[Any]:
    if _form(definition).layout == "questions":
        return [answer["label"] for question in row["passage"]["questions"] for answer in question["answers"]]
    return [row["label"]]


def _check_label(definition: TaskDefinition, label: Any, file: Path, line: int) -> None:
    form = _form(definition)
    if form.layout == "candidates":
        legal = isinstance(label, str)
    else:
        names = _names(definition)
        names = tuple(map(str, names)) if file.suffix == ".tsv" else names
        legal = kind_of(definition.spec).is_prediction(label, names, definition.spec)
    if not legal:
        raise DataError(f"{label!r} is not a prediction that {definition.name} knows.", file, line)


def _placeholder(definition: TaskDefinition, data_dir: str | Path | None) -> bytes:
    form = _form(definition)
    if form.layout == "questions":
        return _placeholder_from_test_set(definition, data_dir)
    assert form.test_rows is not None
    if form.layout == "candidates":
        label: Any = PLACEHOLDER
    else:
        label = kind_of(definition.spec).placeholder(_names(definition), definition.spec, form)
    labels = [label] * form.test_rows
    lines = tsv_lines(labels) if form.file_name.endswith(".tsv") else json_lines(range(form.test_rows), labels)
    return "".join(f"{line}\n" for line in lines).encode()


def _placeholder_from_test_set(definition: TaskDefinition, data_dir: str | Path | None) -> bytes:
    try:
        task = load_tasks(definition.key, data_dir=data_dir, splits=("test",))[definition.key]
    except DataError as error:
        raise DataError(
            f"a placeholder of {definition.name} needs the ids of its test questions: {error}",
            advice="Pass as data_dir the folder of the official files, or a folder with predictions of this task.",
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        logits = np.tile([1.0, 0.0], (len(task.split("test")), 1))
        return write_submission(task, logits, folder).read_bytes()
