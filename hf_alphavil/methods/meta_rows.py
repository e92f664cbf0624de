"""Choice of the meta rows that a method sees."""

from __future__ import annotations

import torch

from ..data.seeding import derive_seed
from .objective import Objective

#: Candidate parameters are compared on at most this many meta rows.
MAX_ACCEPTANCE_ROWS = 512


def acceptance_rows(meta: Objective) -> list[int]:
    """
    The meta rows on which candidate parameters are compared.

    Args:
        meta (`Objective`): The target on the meta set.

    Returns:
        `list[int]`: All rows, or the first `MAX_ACCEPTANCE_ROWS`.
    """
    return list(range(min(meta.num_rows, MAX_ACCEPTANCE_ROWS)))


def alpha_seed(data_seed: int, epoch: int, target: str, number: int = 0) -> int:
    """`int`: Seed of the [`meta_batches`] of an epoch's fit of α, from (data seed, epoch, target, number of fit)."""
    return derive_seed(data_seed, epoch, target, "meta", *([number] if number else []))


def meta_batches(num_rows: int, batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """
    Meta rows of every α step, drawn without replacement. If the meta set fits in one batch, every step has all of it.

    Args:
        num_rows (`int`): Rows of the meta set.
        batch_size (`int`): Rows per step.
        steps (`int`): Number of batches.
        seed (`int`): Seed of the draw.
    """
    if batch_size >= num_rows:
        return [list(range(num_rows))] * steps
    generator = torch.Generator().manual_seed(seed)
    batches: list[list[int]] = []
    order: list[int] = []
    while len(batches) < steps:
        if len(order) < batch_size:
            order = torch.randperm(num_rows, generator=generator).tolist()
        batches.append(order[:batch_size])
        order = order[batch_size:]
    return batches
