"""ForkMerge's greedy search for the coefficients of a merge (arXiv 2301.12618)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Tried coefficients of a branch, in units of the mean coefficient. 0 is the merge without the branch.
FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class GreedyMerge:
    """
    The outcome of [`merge_greedily`].

    Args:
        coefficients (`dict[str, float]`): λ of every branch, best branch first.
        score (`float`): The score of the merge.
    """

    coefficients: dict[str, float]
    score: float

    @property
    def shares(self) -> dict[str, float]:
        """`dict[str, float]`: λ of every branch, divided by the sum."""
        return _normalised(self.coefficients)


def merge_greedily(scores: Mapping[str, float], score_of: Callable[[Mapping[str, float]], float]) -> GreedyMerge:
    """
    Finds λ for θ = Σ λ_b θ_b / Σ λ_b.

    The best branch has λ = 1. The others follow in the order of their scores: branch i, from 1, tries a·(Σ λ)/(i + 1)
    for a in 0, .2, .4, .6, .8, 1, where the sum is over the branches before it, and takes the a with the best score.
    Ours: the values of a; ties between values go to the smaller a, ties between branches to the first one in `scores`.

    Args:
        scores (`Mapping[str, float]`): Score of every branch alone; greater is better.
        score_of (`Callable[[Mapping[str, float]], float]`): Maps the shares λ_b/Σ λ of a merge to its score.

    Returns:
        `GreedyMerge`: λ and the score.
    """
    order = sorted(scores, key=lambda branch: -scores[branch])
    coefficients = {order[0]: 1.0}
    best = scores[order[0]]
    for i, branch in enumerate(order[1:], start=1):
        unit = math.fsum(coefficients.values()) / (i + 1)
        chosen = 0.0  # its score is that of the merge so far
        for factor in FACTORS:
            score = score_of(_normalised({**coefficients, branch: factor * unit}))
            if score > best:
                best, chosen = score, factor * unit
        coefficients[branch] = chosen
    return GreedyMerge(coefficients, best)


def _normalised(coefficients: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(coefficients.values())
    return {branch: coefficient / total for branch, coefficient in coefficients.items()}
