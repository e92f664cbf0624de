"""Task-parallel plans: which phases run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def assign_lanes(sizes: Mapping[str, float], num_lanes: int) -> dict[str, int]:
    """
    Deals phases to lanes that run side by side: the largest first, each to the lane with the least to do.

    Graham's longest-processing-time rule (1969): the longest lane is at most 4/3 − 1/(3·`num_lanes`) times as long as
    in the best assignment.

    Args:
        sizes (`Mapping[str, float]`): How much work a phase is, by name, in any unit.
        num_lanes (`int`): Number of lanes.

    Returns:
        `dict[str, int]`: The lane of every phase, from 0; it does not depend on the order of `sizes`.
    """
    loads = [0.0] * num_lanes
    lanes = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lanes[name] = min(range(num_lanes), key=lambda lane: (loads[lane], lane))
        loads[lanes[name]] += sizes[name]
    return lanes


def mean_tokens(dataset: Any, max_rows: int = 64) -> float:
    """
    Mean number of tokens of a task's rows, all choices of a row together.

    Args:
        dataset (`Dataset`): A map-style dataset.
        max_rows (`int`, *optional*, defaults to 64): Rows to look at, evenly spaced.

    Returns:
        `float`: Mean number of `input_ids`; 1 where rows hold none.
    """
    rows = range(0, len(dataset), -(-len(dataset) // max_rows))
    tokens = [_count(dataset[row].get("input_ids", 0)) for row in rows]
    return sum(tokens) / len(tokens)


def _count(ids: Any) -> int:
    ids = ids.tolist() if hasattr(ids, "tolist") else ids
    return sum(_count(i) for i in ids) if hasattr(ids, "__len__") else 1
