"""Rows held out group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np


def split_groups(groups: Sequence[Hashable], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """
    Draws groups until their rows are as near to a share of all rows as they come; one group at least, of two or more.

    (scikit-learn's `GroupShuffleSplit` draws a share of the groups, which of unequal groups may be any share of rows.)

    Args:
        groups (`Sequence`): The group of every row.
        fraction (`float`): Share of rows to hold out, in (0, 1).
        seed (`int`): Seed of the draw.

    Returns:
        `tuple[list[int], list[int]]`: Sorted row numbers to train on, and to hold out.
    """
    sizes = Counter(groups)
    names = list(sizes)
    wanted, count = fraction * len(groups), 0
    drawn: set[Hashable] = set()
    for number in np.random.default_rng(seed).permutation(len(names)):
        size = sizes[names[number]]
        if abs(count + size - wanted) < abs(count - wanted):
            drawn.add(names[number])
            count += size
    if not drawn and len(names) > 1:  # all are far larger than the share
        drawn.add(min(names, key=sizes.__getitem__))
    rows = range(len(groups))
    return [row for row in rows if groups[row] not in drawn], [row for row in rows if groups[row] in drawn]
