"""
Turns one raw row, in the Hub's columns, into rows on which an ordinary head can be trained.

A definition chooses a function by its key `prepare`. A function takes a row and returns a list of rows with the
original columns and new ones. It raises `ValueError` with the reason for a row that it cannot use.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
PLACEHOLDER = "@placeholder"


def prepare_wic(row: Row) -> list[Row]:
    """
    WiC: adds `marked_sentence1` and `marked_sentence2`, with the word in question in double quotes.

    GlossBERT ([Huang et al. 2019](https://arxiv.org/abs/1908.07245)) marks the word this way. SuperGLUE's baseline
    reads the word's hidden states instead, which an ordinary text classifier cannot.
    """
    marked = {}
    for number in ("1", "2"):
        sentence, start, end = row[f"sentence{number}"], row[f"start{number}"], row[f"end{number}"]
        if not 0 <= start < end <= len(sentence):
            raise ValueError(
                f"start{number}={start} and end{number}={end} are not a part of sentence{number}, which has "
                f"{len(sentence)} characters"
            )
        marked[f"marked_sentence{number}"] = _with_marks(sentence, [(start, end, '"', '"')])
    return [{**row, **marked}]


def prepare_wsc(row: Row) -> list[Row]:
    """
    WSC: adds `marked_text`, with the candidate (span 1) as `_candidate_` and the pronoun as `[pronoun]`.

    RoBERTa's WSC model in fairseq ([Liu et al. 2019](https://arxiv.org/abs/1907.11692)) marks them this way.
    SuperGLUE's baseline reads the spans' hidden states instead. If a span occurs more than once, the
    occurrence nearest to its index is marked: the official indices are sometimes off by a word. A candidate of
    several names ("A and B") whose names are apart in the text is marked name by name.
    """
    text = row["text"]
    marks = [(start, end, "_", "_") for start, end in _find_span(text, row["span1_text"], row["span1_index"])]
    marks += [(start, end, "[", "]") for start, end in _find_span(text, row["span2_text"], row["span2_index"])]
    return [{**row, "marked_text": _with_marks(text, marks)}]


def prepare_multirc(row: Row) -> list[Row]:
    """MultiRC: adds `question_id`, equal for the answers to one question."""
    return [{**row, "question_id": f"{row['idx']['paragraph']}-{row['idx']['question']}"}]


def prepare_record(row: Row) -> list[Row]:
    """
    ReCoRD: one row for each candidate entity of a query, as in SuperGLUE's baseline.

    New columns are `candidate`, `filled_query` (the query with the candidate in its gap), `query_id`, and `label`:
    whether the candidate is one of the answers, -1 where no answers are given, as in the test set.
    """
    if PLACEHOLDER not in row["query"]:
        raise ValueError(f"the query has no {PLACEHOLDER}")
    if not row["entities"]:
        raise ValueError("the query has no entities to choose from")
    query_id = f"{row['idx']['passage']}-{row['idx']['query']}"
    rows = []
    for candidate in row["entities"]:
        label = int(candidate in row["answers"]) if row["answers"] else -1
        filled = row["query"].replace(PLACEHOLDER, candidate)
        rows.append({**row, "candidate": candidate, "filled_query": filled, "query_id": query_id, "label": label})
    return rows


def prepare_axg(row: Row) -> list[Row]:
    """AX-g: adds `pair_id`, equal for the two rows that differ in a pronoun's gender, which are neighbours."""
    return [{**row, "pair_id": row["idx"] // 2}]


PREPARE: dict[str, Callable[[Row], list[Row]]] = {
    "wic": prepare_wic,
    "wsc": prepare_wsc,
    "multirc": prepare_multirc,
    "record": prepare_record,
    "axg": prepare_axg,
}


def _find_span(text: str, span: str, index: int) -> list[tuple[int, int]]:
    """Finds the characters of `span` nearest to the word `index`, or those of its names if they are apart."""
    places = _occurrences(text, span)
    if places:
        return [_nearest(text, places, index)]
    names = [name for name in re.split(r",|\band\b", span) if name.strip()]
    found = [_occurrences(text, name) for name in names]
    if len(names) < 2 or not all(found):
        raise ValueError(f"the span {span!r} is not in the text")
    return list(dict.fromkeys(_nearest(text, places, index) for places in found))


def _occurrences(text: str, span: str) -> list[tuple[int, int]]:
    """The places of the whole words of `span` in `text`, in any case and with any punctuation."""
    words = re.findall(r"\w+", span)
    if not words:
        return []
    pattern = r"(?<!\w)" + r"\W+".join(map(re.escape, words)) + r"(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _nearest(text: str, places: list[tuple[int, int]], index: int) -> tuple[int, int]:
    word_ends = [match.end() for match in re.finditer(r"\S+", text)]
    # The word at a place is the first one that ends after the place's start.
    return min(places, key=lambda place: abs(sum(end <= place[0] for end in word_ends) - index))


def _with_marks(text: str, marks: list[tuple[int, int, str, str]]) -> str:
    """`text` with an opening and a closing mark around each of `(start, end, opening, closing)`."""
    # Two marks at one place: a closing mark comes before an opening one, since those spans only touch. In nested spans
    # the inner span's mark is nearer to the text.
    inserted = [(end, 0, -start, closing) for start, end, _, closing in marks]
    inserted += [(start, 1, -end, opening) for start, end, opening, _ in marks]
    for place, _, _, mark in sorted(inserted, reverse=True):
        text = text[:place] + mark + text[place:]
    return text
