"""Means with 95 % intervals, for scores over seeds and for paired differences."""

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
        mean (`float`): The mean; NaN without values.
        low, high (`float`): The ends of the interval; NaN for fewer than two values.
        n (`int`): Number of values.
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
    # Not `stats.t.interval`, which is NaN if all values are equal.
    reach = error * float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Estimate(mean, mean - reach, mean + reach, len(values))


def paired_estimate(scores: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """
    The mean of paired differences with a percentile bootstrap interval that resamples pairs.

    Args:
        scores (`Sequence[float]`): Scores of a method.
        baseline (`Sequence[float]`): Scores of the baseline, with the same targets and seeds in the same order.
    """
    differences = np.subtract(scores, baseline)
    if len(differences) < 2:
        return _without_interval(differences.tolist())
    # The percentile method also works if all differences are equal, where BCa is undefined. Resampling differences
    # resamples pairs. The seed is fixed, so that a table can be reproduced. SciPy before 1.15 has no `rng`.
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Estimate(float(differences.mean()), float(interval.low), float(interval.high), len(differences))


def _without_interval(values: Sequence[float]) -> Estimate:
    return Estimate(float(values[0]) if len(values) else math.nan, math.nan, math.nan, len(values))
