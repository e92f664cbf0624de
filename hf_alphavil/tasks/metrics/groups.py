"""Metrics over groups of rows: the answers to a question (MultiRC), a pair of sentences (AX-g)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .base import PackagedMetric


def rows_by_group(groups: Iterable[Hashable]) -> list[list[int]]:
    """The numbers of the rows of each group, groups in order of appearance."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    return list(rows.values())


class F1OverAnswers(PackagedMetric):
    """
    MultiRC's F1a ([Khashabi et al. 2018](https://aclanthology.org/N18-1023)): F1 of "this answer is right" over the
    answers to all questions together.
    """

    description = "MultiRC's F1a: binary F1 over all answers"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import f1_score

        return {"f1a": float(f1_score(references, predictions, labels=[1], average="macro", zero_division=0))}


class ExactMatch(PackagedMetric):
    """
    MultiRC's exact match: the share of questions (rows of one `question_id`) whose answers are all
    predicted right.
    """

    description = "MultiRC's exact match: questions with every answer right"
    columns = ("question_id",)

    def _compute(self, predictions: Any, references: Any, question_id: Any) -> dict[str, float]:
        right = np.equal(predictions, references)
        return {"exact_match": float(np.mean([right[rows].all() for rows in rows_by_group(question_id)]))}


class GenderParity(PackagedMetric):
    """
    AX-g's gender parity ([Rudinger et al. 2018](https://aclanthology.org/N18-2002)): the share of pairs (the two rows
    of one `pair_id`, which differ in a pronoun's gender) with equal predictions, right or wrong.

    A row without its partner, for example after a selection of rows, is ignored. Without any pair, the score is NaN.
    """

    description = "Gender parity: pairs with equal predictions"
    columns = ("pair_id",)

    def _compute(self, predictions: Any, references: Any, pair_id: Any) -> dict[str, float]:
        pairs = [rows for rows in rows_by_group(pair_id) if len(rows) == 2]
        equal = [predictions[first] == predictions[second] for first, second in pairs]
        return {"gender_parity": float(np.mean(equal)) if equal else float("nan")}
