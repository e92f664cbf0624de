"""ReCoRD's metrics: compare the entity that a model picks for a query with all right answers."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .base import PackagedMetric
from .groups import rows_by_group

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """An answer in lower case, without punctuation and articles, with single spaces, as SQuAD's scorer compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_f1(prediction: str, answer: str) -> float:
    """F1 of the words that two answers share, counted with repetition."""
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(answer).split()
    shared = (Counter(predicted) & Counter(wanted)).total()
    return 2 * shared / (len(predicted) + len(wanted)) if shared else 0.0


def answer_match(prediction: str, answer: str) -> float:
    """1 if two answers are equal but for case, punctuation, articles and spaces, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


class RecordMetric(PackagedMetric):
    """
    The mean over queries of how well the predicted candidate fits the answer that it fits best.

    One row is one candidate of one query; rows of one `query_id` belong together, and `answers` holds the query's
    right answers. Predictions are margins, the logit of "right" minus that of "wrong": the first candidate with the
    highest margin is predicted.
    """

    columns = ("query_id", "candidate", "answers")
    reads = "margins"
    #: The score's name, and how well a candidate fits an answer, from 0 to 1.
    key: ClassVar[str]
    fit: ClassVar[Callable[..., float]]

    def _compute(
        self, predictions: Any, references: Any, query_id: Any, candidate: Any, answers: Any
    ) -> dict[str, float]:
        margins, fits = np.asarray(predictions), []
        for rows in rows_by_group(query_id):
            picked = rows[int(margins[rows].argmax())]
            fits.append(max((self.fit(candidate[picked], answer) for answer in answers[picked]), default=0.0))
        return {self.key: float(np.mean(fits))}


class RecordF1(RecordMetric):
    """ReCoRD's F1 ([Zhang et al. 2018](https://arxiv.org/abs/1810.12885)): of words, the best over answers."""

    description = "ReCoRD's F1: the picked candidate's words against the best fitting answer's"
    key, fit = "record_f1", staticmethod(answer_f1)


class RecordExactMatch(RecordMetric):
    """ReCoRD's exact match: the share of queries whose picked candidate is one of the answers."""

    description = "ReCoRD's exact match: the picked candidate is an answer"
    key, fit = "record_em", staticmethod(answer_match)
