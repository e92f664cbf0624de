"""The rule by which task weights follow α."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightRule:
    """
    w_t ← w_t + (α_t/α_init − 1), then the limit of the change, bounds, the moving average, and normalisation.

    For α_init = 1 it is the paper's rule as we read it, w_t + (α_t − 1). Ours: all else. The average
    β·w_t + (1 − β)·(bounded new w_t) stays within the bounds. It scales every step, also one to a bound, by the factor
    1 − β. Bounds hold even if normalisation has moved a weight so far beyond one that the way back is longer than
    `max_change`.

    Args:
        target (`str`): The target task.
        minimum (`float`): Lower bound of a weight. A task with weight 0 does not train, so its weight stays 0.
        maximum (`float`, *optional*): Upper bound of a weight.
        normalization (`str`):
            `none`, `all` (mean 1 over all tasks), `auxiliaries` (mean 1 over the auxiliaries; the target's weight does
            not change) or `target` (all weights are divided by the target's).
        average (`float`, *optional*, defaults to 0.0): β, the share of the current weight in the next one, in [0, 1).
        target_minimum (`float`, *optional*):
            Lower bound of the target's weight instead of `minimum`, at most 1. It also holds after normalisation: if
            mean 1 would put the target below it, the target gets this weight, and the auxiliaries share the rest.
        max_change (`float`, *optional*): The greatest change of a weight before bounds.
    """

    target: str
    minimum: float
    maximum: float | None
    normalization: str
    average: float = 0.0
    target_minimum: float | None = None
    max_change: float | None = None

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
        change = math.inf if self.max_change is None else self.max_change
        stepped = {}
        for task, weight in weights.items():
            moved = weight + alpha[task] / alpha_init - 1.0
            low, high = self.bounds(task)
            bounded = min(max(min(max(moved, weight - change), weight + change), low), high)
            stepped[task] = self.average * weight + (1.0 - self.average) * bounded
        return stepped

    def bounds(self, task: str) -> tuple[float, float]:
        """`tuple[float, float]`: The least and the greatest weight of a task before normalisation."""
        low = self.minimum if self.target_minimum is None or task != self.target else self.target_minimum
        return low, math.inf if self.maximum is None else self.maximum

    def normalized(self, weights: Mapping[str, float]) -> dict[str, float]:
        """
        The weights after normalisation.

        Args:
            weights (`Mapping[str, float]`): What [`step`] returned, for the tasks that are not pruned.

        Returns:
            `dict[str, float]`: The weights, in the same order.
        """
        if self.normalization == "none":
            return dict(weights)
        if self.normalization == "target":
            return {task: weight / weights[self.target] for task, weight in weights.items()}
        auxiliaries = scaled_to_mean_one({task: weight for task, weight in weights.items() if task != self.target})
        if self.normalization == "auxiliaries":
            return {task: auxiliaries.get(task, weight) for task, weight in weights.items()}
        scaled = scaled_to_mean_one(weights)
        least = self.target_minimum
        if least is None or scaled[self.target] >= least:
            return scaled
        rest = (len(weights) - least) / len(auxiliaries)
        return {task: rest * auxiliaries[task] if task in auxiliaries else least for task in weights}


def scaled_to_mean_one(weights: Mapping[str, float]) -> dict[str, float]:
    """
    Weights divided by their mean; unchanged if the mean is not above 0.

    Args:
        weights (`Mapping[str, float]`): The weights.
    """
    mean = math.fsum(weights.values()) / max(len(weights), 1)
    return {task: weight / mean for task, weight in weights.items()} if mean > 0 else dict(weights)
