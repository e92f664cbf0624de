"""
Optimizer steps with rows of similar length, which need little padding.

By hand: transformers' `LengthGroupedSampler` orders one dataset, not the steps of a task within a plan of phases.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

#: Rows are sorted within windows of this many optimizer steps.
WINDOW_STEPS = 32
#: Before sorting, a length is changed by up to this share, so that a row's neighbours change from epoch to epoch.
NOISE = 0.05


def group_by_length(
    rows: Sequence[int], lengths: Sequence[int], rows_per_step: int, generator: torch.Generator
) -> list[int]:
    """
    Reorders rows so that each optimizer step has rows of similar length. The order of the steps is random.

    Rows in random order are sorted by length within windows of 32 steps, then cut into steps, and the steps are
    shuffled. The last step is filled up with the first rows.

    Args:
        rows (`Sequence[int]`): The rows of an epoch, in random order.
        lengths (`Sequence[int]`): Length of every row of the task.
        rows_per_step (`int`): Rows per optimizer step, over all ranks and accumulation steps.
        generator (`torch.Generator`): Source of the noise and of the steps' order.

    Returns:
        `list[int]`: The rows in their new order, a multiple of `rows_per_step`.
    """
    missing = -len(rows) % rows_per_step
    filled = [*rows, *(rows[i % len(rows)] for i in range(missing))]
    noise = 1 + NOISE * (2 * torch.rand(len(filled), generator=generator, dtype=torch.float64) - 1)
    keys = (torch.tensor([lengths[row] for row in filled], dtype=torch.float64) * noise).tolist()
    window = WINDOW_STEPS * rows_per_step
    order = [
        place
        for start in range(0, len(filled), window)
        for place in sorted(range(start, min(start + window, len(filled))), key=keys.__getitem__)
    ]
    steps = [order[start : start + rows_per_step] for start in range(0, len(order), rows_per_step)]
    shuffled = torch.randperm(len(steps), generator=generator).tolist()
    return [filled[place] for step in shuffled for place in steps[step]]
