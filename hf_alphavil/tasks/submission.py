"""Writes test predictions in the format of the GLUE and SuperGLUE leaderboards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.atomic_file import atomic_write
from ..kinds import SubmissionFormat, kind_of
from .metrics import rows_by_group
from .task import Task

if TYPE_CHECKING:
    from datasets import Dataset

GLUE_HEADER = "index\tprediction"


def write_submission(task: Task, predictions: Any, directory: str | Path, tokenized: Dataset | None = None) -> Path:
    """
    Writes the predictions for a task's test split. The file is written atomically.

    Args:
        task (`Task`):
            A task with a test split. Without a leaderboard's form the file has GLUE's, with label names; for several
            labels at once and for token classification, JSON lines with `idx` and `labels`, a list of label names.
        predictions (`np.ndarray` or a tuple of them):
            Logits of shape `(rows, labels)` or label ids of shape `(rows,)`; for regression, scores of shape
            `(rows, 1)` or `(rows,)`, which are clipped to the task's range. For several labels at once logits of shape
            `(rows, labels)`: the labels with a logit above 0 apply. For token classification logits of shape
            `(rows, tokens, labels)` or ids of shape `(rows, tokens)`. ReCoRD needs logits, which it compares. Of a
            tuple, only the first entry is read.
        directory (`str` or `Path`): The folder to write to. It is created if missing.
        tokenized (`datasets.Dataset`, *optional*):
            Token classification only: the tokenised test split that was predicted. Its column `word_positions` gives
            the place of each word's label; a word that was cut off gets `null`.

    Returns:
        `Path`: The file: `index<TAB>prediction` lines under a header (`.tsv`) or JSON objects (`.jsonl`).

    Raises:
        ValueError: If there are more or fewer predictions than test rows, if values cannot be written, or if the kind
            predicts nothing for a row, such as masked language modelling.
    """
    kind = kind_of(task)
    if not kind.has_predictions:
        raise ValueError(f"task {task.name!r}: {kind.words} has no predictions to submit")
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
        lines = json_lines(indices, values, "labels" if kind.has_label_lists else "label")
    else:
        lines = tsv_lines(values)
    path = Path(directory) / form.file_name
    atomic_write(path, "".join(f"{line}\n" for line in lines))
    return path


def num_predictions(task: Task) -> int:
    """`int`: The number of predictions in a task's file: one for each row, in ReCoRD one for each query."""
    rows = task.split("test")
    return len(rows_by_group(rows["query_id"])) if submission_format(task).layout == "candidates" else len(rows)


def tsv_lines(values: Iterable[Any]) -> list[str]:
    """GLUE's lines: each row's number, whatever its `idx`, and its prediction."""
    return [GLUE_HEADER, *(f"{index}\t{value}" for index, value in enumerate(values))]


def json_lines(indices: Iterable[Any], values: Iterable[Any], key: str = "label") -> list[str]:
    """SuperGLUE's lines: each row's `idx` and prediction."""
    return [json.dumps({"idx": index, key: value}) for index, value in zip(indices, values, strict=True)]


def submission_format(task: Task) -> SubmissionFormat:
    """`SubmissionFormat`: The form of a task's prediction file: its own, or the default."""
    return task.submission or SubmissionFormat(f"{task.name}.{'jsonl' if kind_of(task).has_label_lists else 'tsv'}")


def _values(task: Task, predictions: Any, form: SubmissionFormat, tokenized: Dataset | None) -> list[Any]:
    """What to write for each row; for `"candidates"` the score of its candidate."""
    names = form.labels if form.labels is not None else task.labels
    try:
        if np.isnan(np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)).any():
            raise ValueError("a prediction is not a finite number: has training diverged?")
        return kind_of(task).predicted_values(predictions, names or (), task.spec, form, tokenized)
    except ValueError as error:
        raise ValueError(f"task {task.name!r}: {error}") from None


def _lines_of_paragraphs(rows: Dataset, labels: list[Any]) -> list[str]:
    """MultiRC's lines: one for each paragraph, with its questions and the labels of their answers."""
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
    """ReCoRD's lines: for each query the first candidate with the highest margin."""
    places, candidates = rows["idx"][:], rows["candidate"][:]
    lines = []
    for group in rows_by_group(rows["query_id"]):
        picked = max(group, key=margins.__getitem__)
        lines.append(json.dumps({"idx": places[picked]["query"], "label": candidates[picked]}))
    return lines
