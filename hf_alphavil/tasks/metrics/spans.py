"""
F1 over labelled spans of words, such as names.

By hand: seqeval's last release is of 2020 and has no wheel. It is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from .base import PackagedMetric

#: What a prefix says of its word's place in a span. IOB and IOBES write B, I, E and S; BILOU writes L for E and U for
#: S; BMES writes M for I.
PLACES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


def spans_of(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """
    The spans that a row's tags mark, by the rules of CoNLL's `conlleval`.

    `B-X` and `S-X` begin a span of type X. `I-X` and `E-X` continue an open span of type X, or begin one if none is
    open. `E-X` and `S-X` close the span. `L`, `U` and `M` mean `E`, `S` and `I`. IOB2, IOB, IOBES, BILOU and BMES are
    thus all supported, and a broken sequence still gives spans. Tags of a prefix alone mark spans without a type if
    all tags of a row are such, as in word segmentation. Any other tag, such as a part of speech, is a span of one
    word. `O` is not part of a span.

    Args:
        tags (`Sequence[str]`): One for each word.

    Returns:
        `set[tuple[int, int, str]]`: first word, word after the last, type.
    """
    spans: set[tuple[int, int, str]] = set()
    start, open_type = 0, None
    bare = {"O", *PLACES} if {"O", *PLACES}.issuperset(tags) else {"O", "B", "I"}
    for word, tag in enumerate([*tags, "O"]):
        prefix, kind = _parts(tag, bare)
        if open_type is not None and not (prefix in ("I", "E") and kind == open_type):
            spans.add((start, word, open_type))
            open_type = None
        if prefix != "O" and open_type is None:
            start, open_type = word, kind
        if prefix in ("E", "S") and open_type is not None:
            spans.add((start, word + 1, open_type))
            open_type = None
    return spans


def has_place(tag: str) -> bool:
    """Whether a tag says where in a span its word stands: it is `O`, a prefix, or has one."""
    prefix, dash, kind = tag.partition("-")
    return tag == "O" or (prefix in PLACES and bool(kind) == bool(dash))


def _parts(tag: str, bare: Collection[str]) -> tuple[str, str]:
    prefix, dash, kind = tag.partition("-")
    if tag in bare:
        return PLACES.get(tag, tag), ""
    return (PLACES[prefix], kind) if dash and prefix in PLACES else ("S", tag)


class SpanF1(PackagedMetric):
    """
    F1 of the spans ([`spans_of`]) of all rows together; a span is right if its words and its type are.

    It equals the default mode of `seqeval`, which gives 0 if there are no spans in predictions and references.
    """

    description = "F1 over labelled spans of words"
    reads = "tags"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        right = found = wanted = 0
        for predicted_tags, reference_tags in zip(predictions, references, strict=True):
            predicted, reference = spans_of(predicted_tags), spans_of(reference_tags)
            right, found, wanted = right + len(predicted & reference), found + len(predicted), wanted + len(reference)
        return {"span_f1": 2 * right / (found + wanted) if right else 0.0}
