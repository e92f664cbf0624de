"""Task-parallel plans: which phases run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


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


def padded_tokens(dataset: Any, batch_size: int, max_batches: int = 16) -> float:
    """
    Mean number of tokens of a task's rows, all choices of a row together, padded to the longest of a batch.

    Args:
        dataset (`Dataset`): A map-style dataset.
        batch_size (`int`): Rows per batch.
        max_batches (`int`, *optional*, defaults to 16): Random batches to look at.

    Returns:
        `float`: Mean number of `input_ids` with padding; 1 where rows hold none.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    tokens = [_count(dataset[row].get("input_ids", 0)) for row in order[: batch_size * max_batches]]
    longest = [max(tokens[i : i + batch_size]) for i in range(0, len(tokens), batch_size)]
    return sum(longest) / len(longest)


def _count(ids: Any) -> int:
    ids = ids.tolist() if hasattr(ids, "tolist") else ids
    return sum(_count(i) for i in ids) if hasattr(ids, "__len__") else 1
