"""How task weights follow α."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightRule:
    """
    w_t ← w_t + (α_t/α_init − 1), then bounds, then normalisation.

    For a start of 1 the rule is the paper's as we read it, w_t + (α_t − 1); relative to any other start, bounds and
    normalisation are ours.

    Args:
        minimum (`float`): Lower bound of a weight. A weight of exactly 0 is absorbing: the task leaves no δ.
        maximum (`float`, *optional*): Upper bound of a weight.
        normalize (`bool`): Whether weights are scaled to mean 1 after the bounds.
    """

    minimum: float
    maximum: float | None
    normalize: bool

    def update(self, weights: Mapping[str, float], alpha: Mapping[str, float], alpha_init: float) -> dict[str, float]:
        """
        The weights of the next epoch.

        Args:
            weights (`Mapping[str, float]`): Present weights w_t.
            alpha (`Mapping[str, float]`): The epoch's α_t.
            alpha_init (`float`): Where α started.

        Returns:
            `dict[str, float]`: New weights, in the order of `weights`.
        """
        maximum = math.inf if self.maximum is None else self.maximum
        updated = {
            task: min(max(weight + alpha[task] / alpha_init - 1.0, self.minimum), maximum)
            for task, weight in weights.items()
        }
        mean = math.fsum(updated.values()) / len(updated)
        if self.normalize and mean > 0:
            updated = {task: weight / mean for task, weight in updated.items()}
        return updated
