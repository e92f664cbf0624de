"""Reads ReCoRD's official files: one passage per line, with its entities and queries."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import Report, raise_error
from .nested import read_nested, take


def read_record(
    file: Path, columns: Collection[str], header: Collection[str] | None = None, report: Report = raise_error
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Reads ReCoRD's nested lines as the Hub's rows, one for each query.

    Args:
        file (`Path`):
            The file.
        columns (`Collection[str]`):
            The columns that the file must have; with `"answers"` among them, every query must have answers.
        header (`Collection[str]`, *optional*):
            Not used.
        report (`Callable`, *optional*):
            Called with the error of every faulty passage. If it returns, all rows of the passage are skipped.
            By default, the error is raised.

    Returns:
        `Iterator[tuple[int, dict[str, Any]]]`: Each row's line, counted from 1, and `passage`, `query`, `entities` and
        `answers` (texts, each once, in the order of the file) and `idx` (`{"passage", "query"}`).

    Raises:
        DataError: If a line has another form.
    """
    return read_nested(file, partial(_queries, labelled="answers" in columns), report)


def _queries(row: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:
    passage, number = take(row, "passage", dict, "the line"), take(row, "idx", int, "the line")
    text = take(passage, "text", str, "the passage")
    entities = []
    for entity in take(passage, "entities", list, "the passage"):
        start, end = (
            take(entity, key, int, "an entity") for key in ("start", "end")
        )  # `end` is the last character's place
        if not 0 <= start <= end < len(text):
            raise ValueError(f"an entity from {start} to {end} is outside the passage of {len(text)} characters.")
        entities.append(text[start : end + 1])
    queries = take(row, "qas", list, "the line")
    if not entities or not queries:
        raise ValueError(
            f"the passage has {len(entities)} entities and {len(queries)} queries, and needs some of both."
        )
    for query in queries:
        answers = []
        if labelled:
            answers = [take(answer, "text", str, "an answer") for answer in take(query, "answers", list, "a query")]
            if not answers:
                raise ValueError("a query has no answers.")
        yield {
            "passage": text,
            "query": take(query, "query", str, "a query"),
            "entities": list(dict.fromkeys(entities)),
            "answers": list(dict.fromkeys(answers)),
            "idx": {"passage": number, "query": take(query, "idx", int, "a query")},
        }
