"""Reads MultiRC's official files: one paragraph per line, with its questions and their answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import Report, raise_error
from .nested import read_nested, take


def read_multirc(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads MultiRC's nested lines as the Hub's rows, one for each answer.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have; with `"label"` among them, every answer must have a label.
        header (`Collection[str]`, *optional*):
            Not used.
        report (`Callable`, *optional*):
            Called with the error of every faulty paragraph. If it returns, all rows of the paragraph are skipped.
            By default, the error is raised.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and `paragraph`, `question`, `answer`,
        `idx` (`{"paragraph", "question", "answer"}`) and `label`.

    Raises:
        DataError: If a line has another form.
    """
    return read_nested(file, partial(_answers, labelled="label" in columns), report)


def _answers(row: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:
    passage = take(row, "passage", dict, "the line")
    paragraph, text = take(row, "idx", int, "the line"), take(passage, "text", str, "the passage")
    questions = take(passage, "questions", list, "the passage")
    if not questions:
        raise ValueError("the passage has no questions.")
    for question in questions:
        number, asked = take(question, "idx", int, "a question"), take(question, "question", str, "a question")
        answers = take(question, "answers", list, "a question")
        if not answers:
            raise ValueError(f"question {number} has no answers.")
        for answer in answers:
            idx = {"paragraph": paragraph, "question": number, "answer": take(answer, "idx", int, "an answer")}
            yield {
                "paragraph": text,
                "question": asked,
                "answer": take(answer, "text", str, "an answer"),
                "idx": idx,
                "label": take(answer, "label", int, "an answer") if labelled else -1,
            }
