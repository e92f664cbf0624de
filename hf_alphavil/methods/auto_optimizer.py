"""The optimizer `auto` of α: the cheapest one that the target's loss allows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .alpha_optimizer_base import AlphaOptimizer, AlphaTrajectory, Progress
from .alpha_problem import AlphaProblem
from .objective import Objective

logger = logging.getLogger(__name__)


class FirstThatCan(AlphaOptimizer):
    """
    `auto`: an optimizer from forward passes alone if it can minimise the target's loss, and another one if it cannot.

    The choice is made before training, from the loss and the number of values of α; a warning tells of the second.
    The details of every epoch have the name of the one that was taken, as `alpha_optimizer`.

    Args:
        preferred (`tuple[str, AlphaOptimizer]`): Name and optimizer.
        other (`tuple[str, AlphaOptimizer]`): Likewise; it can minimise every loss.
    """

    def __init__(self, preferred: tuple[str, AlphaOptimizer], other: tuple[str, AlphaOptimizer]) -> None:
        super().__init__(preferred[1].steps)
        self.preferred, self.other, self.taken = preferred, other, preferred

    def check(self, meta: Objective, rows: Sequence[int], unknowns: int) -> None:
        (name, optimizer), most = self.preferred, self.preferred[1].max_unknowns
        self.taken = self.preferred
        try:
            if most is not None and unknowns > most:
                raise ValueError(f"alpha_optimizer={name!r} fits at most {most} values of α, and there are {unknowns}")
            optimizer.check(meta, rows, unknowns)
        except ValueError as error:
            self.taken = self.other
            logger.warning("alpha_optimizer='auto' takes %r in this run. The reason: %s.", self.other[0], error)

    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        name, optimizer = self.taken
        found = optimizer.minimize(problem, seed, progress)
        return replace(found, details={**found.details, "alpha_optimizer": name})

    def state_dict(self) -> dict[str, Any]:
        return self.other[1].state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.other[1].load_state_dict(state)
