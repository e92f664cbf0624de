"""Lanes of task-parallel plans: which phases run in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def assign_lanes(sizes: Mapping[str, float], num_lanes: int) -> dict[str, int]:
    """
    Assigns phases to lanes that run in parallel: the largest phase first, each to the lane with the least work so far.

    This is Graham's longest-processing-time rule (1969). Its longest lane is at most 4/3 − 1/(3·`num_lanes`) times as
    long as that of the best assignment.

    Args:
        sizes (`Mapping[str, float]`): Amount of work per phase, by name, in any unit.
        num_lanes (`int`): Number of lanes.

    Returns:
        `dict[str, int]`: The lane of every phase, from 0. The order of `sizes` does not matter.
    """
    loads = [0.0] * num_lanes
    lanes = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lanes[name] = min(range(num_lanes), key=lambda lane: (loads[lane], lane))
        loads[lanes[name]] += sizes[name]
    return lanes


def padded_tokens(dataset: Any, batch_size: int, lengths: Sequence[int] | None = None, max_batches: int = 16) -> float:
    """
    Mean number of tokens per row when every row is padded to the longest of its batch.

    With lengths, rows of similar length share a batch, so padding is not counted.

    The tokens of all choices of a multiple-choice row are added up.

    Args:
        dataset (`Dataset`): A map-style dataset.
        batch_size (`int`): Rows per batch.
        lengths (`Sequence[int]`, *optional*): Lengths of the rows, if batches are made by length.
        max_batches (`int`, *optional*, defaults to 16): Number of random batches to average over.

    Returns:
        `float`: Mean number of `input_ids`, padding included; 1 if rows have no `input_ids`.
    """
    if lengths is not None:
        return sum(lengths) / len(lengths)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    tokens = [_count(dataset[row].get("input_ids", 0)) for row in order[: batch_size * max_batches]]
    longest = [max(tokens[i : i + batch_size]) for i in range(0, len(tokens), batch_size)]
    return sum(longest) / len(longest)


def _count(ids: Any) -> int:
    ids = ids.tolist() if hasattr(ids, "tolist") else ids
    return sum(_count(i) for i in ids) if hasattr(ids, "__len__") else 1
