"""Rows of a task in words, cut to a length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kinds import kind_of
from .task import Task

#: Number of characters of an example's text that are shown, from its beginning and from its end.
TEXT_START, TEXT_END = 240, 120


def example_rows(task: Task, number: int) -> list[dict[str, Any]]:
    """
    The first training rows of a task.

    Args:
        task (`Task`): The task.
        number (`int`): How many rows.

    Returns:
        `list[dict]`: By row, its `texts` (one for each choice) and its `answer`, which may be empty; ready for JSON.
    """
    rows = task.train
    if rows is None:
        return []
    first = [rows[index] for index in range(min(number, len(rows)))]
    return [{"texts": shown_texts(task, row), "answer": shorten(answer(task, "train", row))} for row in first]


def shown_texts(task: Task, row: Mapping[str, Any]) -> list[str]:
    """`list[str]`: The texts of a row, one for each choice, cut to a length. The parts of a pair are joined."""
    return [" ‖ ".join(map(shorten, pair)) for pair in kind_of(task).texts(task, row)]


def answer(task: Task, split: str, row: Mapping[str, Any]) -> str:
    """`str`: The label of a row in words; empty if it has none or is of the test split."""
    label = row.get(task.label_column)
    if split == "test" or not kind_of(task).reads_labels or label is None:
        return ""
    return kind_of(task).label_in_words(label, task.labels)


def shorten(text: str) -> str:
    """`str`: The beginning and the end of a long text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= TEXT_START + TEXT_END else f"{text[:TEXT_START]} … {text[-TEXT_END:]}"
