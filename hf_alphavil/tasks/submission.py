"""Test predictions in the form that the GLUE and SuperGLUE leaderboards take."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.atomic_file import atomic_write
from .metrics import (
    classification_predictions,
    margin_predictions,
    multi_label_predictions,
    regression_predictions,
    rows_by_group,
    token_predictions,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from .task import Task

#: How the rows of a `.jsonl` file are put together.
LAYOUTS = ("rows", "questions", "candidates")
SUFFIXES = (".tsv", ".jsonl")
#: Of a float64 no more digits say anything.
MAX_DECIMALS = 17
GLUE_HEADER = "index\tprediction"


@dataclass(frozen=True)
class SubmissionFormat:
    """
    The form in which a leaderboard wants a task's test predictions.

    Args:
        file_name (`str`):
            Such as `RTE.tsv`; the suffix (`.tsv` or `.jsonl`) chooses GLUE's or SuperGLUE's form.
        labels (`tuple`, *optional*):
            What to write for each label id, in id order. Defaults to the task's label names.
        decimals (`int`, *optional*, defaults to 3):
            Decimals of a regression's scores.
        test_rows (`int`, *optional*):
            The official number of predictions: of rows, of MultiRC's answers, of ReCoRD's queries.
        layout (`str`, *optional*, defaults to `"rows"`):
            `"rows"`: a line for each row. `"questions"`, MultiRC's: one for each paragraph, with the answers to its
            questions. `"candidates"`, ReCoRD's: one for each query, with the text of its most believed candidate.
    """

    file_name: str
    labels: tuple[str | int, ...] | None = None
    decimals: int = 3
    test_rows: int | None = None
    layout: str = "rows"

    def __post_init__(self) -> None:
        if Path(self.file_name).name != self.file_name or Path(self.file_name).suffix not in SUFFIXES:
            raise ValueError(f"the submission's file_name is {self.file_name!r}; pass one as task.tsv or task.jsonl")
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"the submission's decimals are {self.decimals}; pass a number from 0 to {MAX_DECIMALS}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r} of a submission; pass one of {', '.join(LAYOUTS)}")


def write_submission(task: Task, predictions: Any, directory: str | Path, tokenized: Dataset | None = None) -> Path:
    """
    Writes the predictions for a task's test split; the file is whole or not there.

    Args:
        task (`Task`):
            A task with a test split. One without a leaderboard's form gets GLUE's, with label names; of several labels
            at once and of token classification JSON lines with `idx` and `labels`, a list of label names.
        predictions (`np.ndarray` or a tuple of them):
            Logits of shape `(rows, labels)` or label ids of shape `(rows,)`; for regression, scores of shape
            `(rows, 1)` or `(rows,)`, which are clipped to the task's range. For several labels at once logits of shape
            `(rows, labels)`, of which those above 0 apply. For token classification logits of shape
            `(rows, tokens, labels)` or ids of shape `(rows, tokens)`. ReCoRD takes logits alone, since it compares
            them. Of a tuple the first entry counts.
        directory (`str` or `Path`):
            The folder to write to; made if it is not there.
        tokenized (`datasets.Dataset`, *optional*):
            Token classification only: what was predicted, the tokenised test split. Its column `word_positions` says
            where each word's label stands; a word that was cut off gets `null`.

    Returns:
        `Path`: the file: `index<TAB>prediction` lines under a header (`.tsv`) or JSON objects (`.jsonl`).

    Raises:
        `ValueError`: for a number of predictions other than the test split's, for values that cannot be written, and
            for masked language modelling, which predicts nothing about a row.
    """
    if task.kind == "masked_lm":
        raise ValueError(f"task {task.name!r}: masked language modelling has no predictions to submit")
    rows, form = task.split("test"), submission_format(task)
    values = _values(task, predictions, form, tokenized)
    if len(values) != len(rows):
        raise ValueError(
            f"task {task.name!r}: {len(values)} predictions for {len(rows)} test rows; predict the whole split, once"
        )
    if form.layout == "questions":
        lines = _lines_of_paragraphs(rows, values)
    elif form.layout == "candidates":
        lines = _lines_of_queries(rows, values)
    elif form.file_name.endswith(".jsonl"):
        indices = rows["idx"][:] if "idx" in rows.column_names else range(len(rows))
        lines = json_lines(indices, values, "labels" if task.format.has_label_lists else "label")
    else:
        lines = tsv_lines(values)
    path = Path(directory) / form.file_name
    atomic_write(path, "".join(f"{line}\n" for line in lines))
    return path


def num_predictions(task: Task) -> int:
    """`int`: How many predictions a task's file holds: of rows, of ReCoRD's candidates one for each query."""
    rows = task.split("test")
    return len(rows_by_group(rows["query_id"])) if submission_format(task).layout == "candidates" else len(rows)


def tsv_lines(values: Iterable[Any]) -> list[str]:
    """GLUE's lines, of each row's prediction: its index is the row's number, whatever `idx` says."""
    return [GLUE_HEADER, *(f"{index}\t{value}" for index, value in enumerate(values))]


def json_lines(indices: Iterable[Any], values: Iterable[Any], key: str = "label") -> list[str]:
    """SuperGLUE's lines, of each row's `idx` and prediction."""
    return [json.dumps({"idx": index, key: value}) for index, value in zip(indices, values, strict=True)]


def submission_format(task: Task) -> SubmissionFormat:
    """`SubmissionFormat`: The form of a task's prediction file: its own, or the default."""
    return task.submission or SubmissionFormat(f"{task.name}.{'jsonl' if task.format.has_label_lists else 'tsv'}")


def _values(task: Task, predictions: Any, form: SubmissionFormat, tokenized: Dataset | None) -> list[Any]:
    """What to write for each row; for `"candidates"` how much its candidate is believed."""
    if np.isnan(np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)).any():
        raise ValueError(f"task {task.name!r}: a prediction is not a finite number: has training diverged?")
    if task.kind == "regression":
        return _scores(task, predictions, form)
    names = form.labels if form.labels is not None else task.labels
    assert names is not None  # of a classification
    if task.is_multi_label:
        return [[names[label] for label in np.flatnonzero(row)] for row in multi_label_predictions(predictions)]
    if task.kind == "token_classification":
        return _word_labels(task, predictions, names, tokenized)
    if form.layout == "candidates":
        return _finite(task, margin_predictions(predictions)).tolist()
    return _labels(task, predictions, names)


def _finite(task: Task, scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ValueError(f"task {task.name!r}: a prediction is not a finite number: has training diverged?")
    return scores


def _scores(task: Task, predictions: Any, form: SubmissionFormat) -> list[str]:
    scores = _finite(task, regression_predictions(predictions))
    if task.score_range is not None:
        scores = scores.clip(*task.score_range)
    return [f"{score:.{form.decimals}f}" for score in scores]


def _labels(task: Task, predictions: Any, names: tuple[str | int, ...]) -> list[str | int]:
    array = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
    ids = array if array.ndim == 1 else classification_predictions(array)
    for label in ids:
        if label != int(label) or not 0 <= label < len(names):
            raise ValueError(f"task {task.name!r}: the prediction {label} is not an id from 0 to {len(names) - 1}")
    return [names[int(label)] for label in ids]


def _word_labels(
    task: Task, predictions: Any, names: tuple[str | int, ...], tokenized: Dataset | None
) -> list[list[str | int | None]]:
    if tokenized is None or "word_positions" not in tokenized.column_names:
        raise ValueError(
            f"task {task.name!r}: pass tokenized, the tokenised test split with its column word_positions, which says "
            "where each word's label stands"
        )
    ids, positions = token_predictions(predictions), tokenized["word_positions"][:]
    if len(ids) != len(positions):
        raise ValueError(f"task {task.name!r}: {len(ids)} predictions for {len(positions)} tokenised rows")
    rows: list[list[str | int | None]] = []
    for number, (row, places) in enumerate(zip(ids, positions, strict=True)):
        labels: list[str | int | None] = []
        for place in places:
            if place >= len(row) or (place >= 0 and not 0 <= row[place] < len(names)):
                raise ValueError(f"task {task.name!r}: row {number} has no prediction for the token {place}")
            labels.append(names[row[place]] if place >= 0 else None)
        rows.append(labels)
    return rows


def _lines_of_paragraphs(rows: Dataset, labels: list[Any]) -> list[str]:
    """MultiRC's lines: labels of answers, in their questions, in their paragraphs."""
    paragraphs: dict[int, dict[int, list[dict[str, Any]]]] = {}
    for place, label in zip(rows["idx"], labels, strict=True):
        questions = paragraphs.setdefault(place["paragraph"], {})
        questions.setdefault(place["question"], []).append({"idx": place["answer"], "label": label})
    return [
        json.dumps(
            {
                "idx": paragraph,
                "passage": {
                    "questions": [{"idx": question, "answers": answers} for question, answers in questions.items()]
                },
            }
        )
        for paragraph, questions in paragraphs.items()
    ]


def _lines_of_queries(rows: Dataset, margins: list[float]) -> list[str]:
    """ReCoRD's lines: of each query the first candidate with the highest margin."""
    places, candidates = rows["idx"][:], rows["candidate"][:]
    lines = []
    for group in rows_by_group(rows["query_id"]):
        picked = max(group, key=margins.__getitem__)
        lines.append(json.dumps({"idx": places[picked]["query"], "label": candidates[picked]}))
    return lines
