"""What each auxiliary gives: the score with all of them minus the score without it, over seeds."""

from __future__ import annotations

from dataclasses import dataclass

from ..reporting.verdicts import HELPED, HURT, NO_EFFECT
from .estimates import Estimate

TOO_FEW_SEEDS = "too few seeds to tell"
#: Fewest seeds whose differences can say anything.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class LeftOut:
    """
    A leave-one-out comparison: a method with all auxiliaries, and without one of them.

    The rule of the verdict is ours. *helped* and *hurt*: Student's interval (95 %) of the differences over seeds is on
    one side of 0. *no clear effect*: it includes 0. *too few seeds to tell*: there are fewer than `LEAST_SEEDS`, or
    their differences are equal and not 0, so that they have no interval.

    Args:
        method (`str`): Name of the method.
        target (`str`): The target.
        auxiliary (`str`): The auxiliary that was left out.
        without (`Estimate`): Mean score without it, in points.
        gives (`Estimate`): Mean score with it minus the mean without it, in points, over seeds that have both.
    """

    method: str
    target: str
    auxiliary: str
    without: Estimate
    gives: Estimate

    @property
    def verdict(self) -> str:
        """`str`: `HELPED`, `HURT`, `NO_EFFECT` or `TOO_FEW_SEEDS`."""
        low, high = self.gives.low, self.gives.high
        if self.gives.n < LEAST_SEEDS or (low == high and low != 0):
            return TOO_FEW_SEEDS
        return HELPED if low > 0 else HURT if high < 0 else NO_EFFECT
