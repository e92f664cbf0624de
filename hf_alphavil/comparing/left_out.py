"""What each auxiliary gives: how much better the score with all of them is than the score without it, over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..reporting.verdicts import HELPED, HURT, NO_EFFECT
from .estimates import Estimate

TOO_FEW_SEEDS = "too few seeds to tell"
#: Fewest seeds whose differences can say anything.
LEAST_SEEDS = 3
#: Decimals of a point. What is smaller is the rounding of equal scores.
DIGITS = 6


@dataclass(frozen=True)
class LeftOut:
    """
    A leave-one-out comparison: a method with all auxiliaries, and without one of them.

    Args:
        method (`str`): Name of the method.
        target (`str`): The target.
        auxiliary (`str`): The auxiliary that was left out.
        without (`Estimate`): Mean score without it, in points, over the seeds that have both scores.
        gives (`Estimate`):
            How much better the mean score with it is than the mean without it, in points, over the same seeds. Above 0
            is better, also where a smaller score is.
    """

    method: str
    target: str
    auxiliary: str
    without: Estimate
    gives: Estimate


def verdict_of(gives: Estimate) -> str:
    """
    The verdict on an auxiliary. The rule is ours.

    The run without it takes as many optimizer steps, so that no auxiliary helps by its steps alone.

    Args:
        gives (`Estimate`): Mean of the differences over seeds, with Student's interval.

    Returns:
        `str`: `HELPED` or `HURT` if the interval is on one side of 0, `NO_EFFECT` if it includes 0, and
        `TOO_FEW_SEEDS` if there are fewer than `LEAST_SEEDS`, a score is NaN, or all differences are equal and not 0,
        so that they have no interval.
    """
    low, high = round(gives.low, DIGITS), round(gives.high, DIGITS)
    if gives.n < LEAST_SEEDS or math.isnan(low) or low == high != 0:
        return TOO_FEW_SEEDS
    return HELPED if low > 0 else HURT if high < 0 else NO_EFFECT
