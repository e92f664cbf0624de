"""The rule by which task weights follow α."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightRule:
    """
    w_t ← w_t + (α_t/α_init − 1), then bounds, then the moving average, then normalisation.

    For α_init = 1 it is the paper's rule as we read it, w_t + (α_t − 1). Ours: other values of α_init, bounds, average
    and normalisation. The average β·w_t + (1 − β)·(bounded new w_t) stays within the bounds. It scales every step,
    also one to a bound, by the factor 1 − β.

    Args:
        minimum (`float`): Lower bound of a weight. A task with weight 0 does not train, so its weight stays 0.
        maximum (`float`, *optional*): Upper bound of a weight.
        normalize (`bool`): Whether weights are scaled to mean 1.
        average (`float`, *optional*, defaults to 0.0): β, the share of the current weight in the next one, in [0, 1).
    """

    minimum: float
    maximum: float | None
    normalize: bool
    average: float = 0.0

    def step(self, weights: Mapping[str, float], alpha: Mapping[str, float], alpha_init: float) -> dict[str, float]:
        """
        The weights of the next epoch before they are normalised.

        Args:
            weights (`Mapping[str, float]`): Current weights w_t.
            alpha (`Mapping[str, float]`): The epoch's α_t.
            alpha_init (`float`): The start of every α.

        Returns:
            `dict[str, float]`: New weights, in the order of `weights`.
        """
        maximum = math.inf if self.maximum is None else self.maximum
        return {
            task: self.average * weight
            + (1.0 - self.average) * min(max(weight + alpha[task] / alpha_init - 1.0, self.minimum), maximum)
            for task, weight in weights.items()
        }

    def normalized(self, weights: Mapping[str, float]) -> dict[str, float]:
        """
        Weights scaled to mean 1, if the rule normalises.

        Args:
            weights (`Mapping[str, float]`): What [`step`] returned, for the tasks that are not pruned.

        Returns:
            `dict[str, float]`: The weights, in the same order.
        """
        return scaled_to_mean_one(weights) if self.normalize else dict(weights)


def scaled_to_mean_one(weights: Mapping[str, float]) -> dict[str, float]:
    """
    Weights divided by their mean; unchanged if the mean is not above 0.

    Args:
        weights (`Mapping[str, float]`): The weights.
    """
    mean = math.fsum(weights.values()) / len(weights)
    return {task: weight / mean for task, weight in weights.items()} if mean > 0 else dict(weights)
