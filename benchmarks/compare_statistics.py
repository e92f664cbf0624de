"""Means with 95 % intervals: of scores over seeds, and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Estimate:
    """
    A mean and its 95 % interval.

    Args:
        mean (`float`): The mean; NaN of no values.
        low, high (`float`): The interval's ends; NaN of fewer than two values.
        n (`int`): How many values.
    """

    mean: float
    low: float
    high: float
    n: int


def mean_estimate(values: Sequence[float]) -> Estimate:
    """
    The mean with Student's t-interval, for scores over seeds.

    Args:
        values (`Sequence[float]`): The scores.
    """
    if len(values) < 2:
        return _without_interval(values)
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = error * float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Estimate(mean, mean - reach, mean + reach, len(values))


def paired_estimate(scores: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """
    The mean of paired differences with a percentile bootstrap interval that draws pairs.

    Args:
        scores (`Sequence[float]`): Scores of a method.
        baseline (`Sequence[float]`): The baseline's, of the same targets and seeds in the same order.
    """
    differences = np.subtract(scores, baseline)
    if len(differences) < 2:
        return _without_interval(differences.tolist())
    # The percentile method also where all differences are equal, for which BCa has no answer. Pairs are drawn by
    # drawing their differences. The seed is fixed: a table made again is the same table.
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", rng=0
    ).confidence_interval
    return Estimate(float(differences.mean()), float(interval.low), float(interval.high), len(differences))


def _without_interval(values: Sequence[float]) -> Estimate:
    return Estimate(float(values[0]) if len(values) else math.nan, math.nan, math.nan, len(values))
