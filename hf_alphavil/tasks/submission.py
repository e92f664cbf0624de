"""Test predictions in the form that the GLUE and SuperGLUE leaderboards take."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .metrics import classification_predictions, regression_predictions

if TYPE_CHECKING:
    from .task import Task


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
    """

    file_name: str
    labels: tuple[str | int, ...] | None = None
    decimals: int = 3


def write_submission(task: Task, predictions: Any, directory: str | Path) -> Path:
    """
    Writes the predictions for a task's test split, one line per row.

    Args:
        task (`Task`):
            A task with a test split. One without a leaderboard's form gets GLUE's, with label names.
        predictions (`np.ndarray` or a tuple of them):
            Logits of shape `(rows, labels)` or label ids of shape `(rows,)`; for regression, scores of shape
            `(rows, 1)` or `(rows,)`, which are clipped to the task's range. Of a tuple the first entry counts.
        directory (`str` or `Path`):
            The folder to write to; made if it is not there.

    Returns:
        `Path`: the file: `index<TAB>prediction` lines under a header (`.tsv`) or JSON objects with `idx` and `label`
        (`.jsonl`).

    Raises:
        `ValueError`: for a number of predictions other than the test split's, and for values that cannot be written.
    """
    rows = task.split("test")
    form = task.submission or SubmissionFormat(f"{task.name}.tsv", labels=task.labels)
    values = _scores(task, predictions, form) if task.kind == "regression" else _labels(task, predictions, form)
    if len(values) != len(rows):
        raise ValueError(
            f"task {task.name!r}: {len(values)} predictions for {len(rows)} test rows; predict the whole split, once"
        )
    if form.file_name.endswith(".jsonl"):
        indices = rows["idx"][:] if "idx" in rows.column_names else range(len(rows))
        lines = [json.dumps({"idx": index, "label": value}) for index, value in zip(indices, values, strict=True)]
    else:
        # GLUE's index is the row's number, whatever `idx` says.
        lines = ["index\tprediction", *(f"{index}\t{value}" for index, value in enumerate(values))]
    path = Path(directory) / form.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def _scores(task: Task, predictions: Any, form: SubmissionFormat) -> list[str]:
    scores = regression_predictions(predictions)
    if not np.isfinite(scores).all():
        raise ValueError(f"task {task.name!r}: a prediction is not a finite number")
    if task.score_range is not None:
        scores = scores.clip(*task.score_range)
    return [f"{score:.{form.decimals}f}" for score in scores]


def _labels(task: Task, predictions: Any, form: SubmissionFormat) -> list[str | int]:
    array = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
    ids = array if array.ndim == 1 else classification_predictions(array)
    names = form.labels if form.labels is not None else task.labels
    assert names is not None  # of a classification
    for label in ids:
        if label != int(label) or not 0 <= label < len(names):
            raise ValueError(f"task {task.name!r}: the prediction {label} is not an id from 0 to {len(names) - 1}")
    return [names[int(label)] for label in ids]
