"""Compares the CPU time of alternatives that run one after the other, again and again, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def now() -> float:
    """CPU seconds of this process, all threads together; on a GPU, wall seconds after its work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def ratios(alternatives: Mapping[str, Callable[[], float]], baseline: str, rounds: int) -> dict[str, dict[str, float]]:
    """
    Measures alternatives in turn and divides each by the baseline of the same round.

    Shared processors slow down for seconds at a time, which changes an alternative and its baseline alike.

    Args:
        alternatives (`Mapping[str, Callable[[], float]]`): Functions that return what they cost, such as seconds.
        baseline (`str`): The alternative that the others are divided by.
        rounds (`int`): Number of rounds.

    Returns:
        `dict[str, dict[str, float]]`: By alternative, the `median`, `least` and `greatest` ratio, and the median
        `cost`.
    """
    costs: dict[str, list[float]] = {name: [] for name in alternatives}
    for number in range(rounds):
        names = list(alternatives) if number % 2 == 0 else list(reversed(alternatives))
        for name in names:
            costs[name].append(alternatives[name]())
    of_rounds = {name: [a / b for a, b in zip(costs[name], costs[baseline], strict=True)] for name in alternatives}
    return {
        name: {
            "median": statistics.median(values),
            "least": min(values),
            "greatest": max(values),
            "cost": statistics.median(costs[name]),
        }
        for name, values in of_rounds.items()
    }
