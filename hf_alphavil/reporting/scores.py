"""A score as the card and the page show it, beside that of the most frequent label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CardScore:
    """
    A score that the card reports.

    Args:
        task (`str`): The task.
        split (`str`): The split it was measured on: `"validation"` or `"test"`.
        metric (`str`): The metric's id, such as `"accuracy"`.
        value (`float`): The value, as a fraction, not a percentage.
        rows (`int`, *optional*):
            Number of rows, if the score is the share of them that is right. Only such a score has an interval.
        majority (`float`, *optional*):
            What always answering the most frequent label of the same rows scores, if it is known.
        step (`int`, *optional*):
            The step of the training at which it was measured, if the model has been trained since.
    """

    task: str
    split: str
    metric: str
    value: float
    rows: int | None = None
    majority: float | None = None
    step: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """`tuple[float, float]`, *optional*: Wilson's 95 % interval of a share of rows."""
        if not self.rows or not math.isfinite(self.value):
            return None
        from scipy import stats  # takes half a second to import

        low, high = stats.binomtest(round(self.value * self.rows), self.rows).proportion_ci(method="wilson")
        return float(low), float(high)

    @property
    def interval_in_words(self) -> str:
        """`str`: The interval, such as `0.696 to 0.797`; empty if there is none."""
        return "{:.3f} to {:.3f}".format(*self.interval) if self.interval else ""

    @property
    def majority_in_words(self) -> str:
        """`str`: The majority's score, such as `0.5271`; empty if it is not known."""
        return "" if self.majority is None else f"{self.majority:.4f}"

    @property
    def beats_majority(self) -> bool:
        """`bool`: Whether the score, or the whole interval if there is one, is above the majority's score."""
        return self.majority is not None and (self.interval[0] if self.interval else self.value) > self.majority


def no_better_in_words(scores: Sequence[CardScore], target: str) -> str:
    """
    Says that the target's score is no better than always answering its most frequent label.

    Args:
        scores (`Sequence[CardScore]`): The scores. Of the target's, the first one with a majority counts.
        target (`str`): The target task.

    Returns:
        `str`: A sentence; empty if the score is better, or if that is not known.
    """
    score = next((score for score in scores if score.task == target and score.majority is not None), None)
    if score is None or score.majority is None or score.beats_majority:
        return ""
    clearly = "clearly " if score.value > score.majority else ""
    interval = f" (95 % interval {score.interval_in_words})" if score.interval else ""
    return (
        f"Not {clearly}better than the majority class: the target's {score.split} {score.metric} is "
        f"{score.value:.4f}{interval}, and always answering its most frequent label scores "
        f"{score.majority_in_words}."
    )
