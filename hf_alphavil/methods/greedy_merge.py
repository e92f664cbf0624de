"""A greedy search for the coefficients of a merge, as ForkMerge has it (arXiv 2301.12618)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: What each branch's coefficient is tried at, in units of the mean coefficient.
FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class GreedyMerge:
    """
    The outcome of [`merge_greedily`].

    Args:
        coefficients (`dict[str, float]`): λ of every branch, in the order of their scores.
        score (`float`): The score of the merge.
    """

    coefficients: dict[str, float]
    score: float

    @property
    def shares(self) -> dict[str, float]:
        """`dict[str, float]`: λ of every branch, divided by their sum."""
        return _normalised(self.coefficients)


def merge_greedily(scores: Mapping[str, float], score_of: Callable[[Mapping[str, float]], float]) -> GreedyMerge:
    """
    Finds λ for θ = Σ λ_b θ_b / Σ λ_b.

    The best branch has λ = 1. Branch i (from 1) of the others, in the order of their scores, tries a·(Σ λ)/(i + 1) for
    a of 0, .2, .4, .6, .8 and 1, Σ over the branches before it, and takes the best score, the smaller a where two are
    equal. Of branches of equal scores, the one named first comes first (this, and the choice of a, are ours).

    Args:
        scores (`Mapping[str, float]`): The score of every branch by itself, the greater the better.
        score_of (`Callable[[Mapping[str, float]], float]`): The score of a merge from its shares λ_b/Σ λ.

    Returns:
        `GreedyMerge`: λ and the score.
    """
    order = sorted(scores, key=lambda branch: -scores[branch])
    coefficients = {order[0]: 1.0}
    best = scores[order[0]]
    for i, branch in enumerate(order[1:], start=1):
        unit = math.fsum(coefficients.values()) / (i + 1)
        chosen = 0.0  # with the score of the merge so far
        for factor in FACTORS:
            score = score_of(_normalised({**coefficients, branch: factor * unit}))
            if score > best:
                best, chosen = score, factor * unit
        coefficients[branch] = chosen
    return GreedyMerge(coefficients, best)


def _normalised(coefficients: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(coefficients.values())
    return {branch: coefficient / total for branch, coefficient in coefficients.items()}
