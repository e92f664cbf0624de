"""Holds out whole groups of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np


def split_groups(groups: Sequence[Hashable], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """
    Draws groups in random order and holds out each one that brings the number of held-out rows closer to the share.

    At least one group is held out if there are two or more. scikit-learn's `GroupShuffleSplit` draws a share of the
    groups instead; if groups have unequal sizes, that can be any share of the rows.

    Args:
        groups (`Sequence`): The group of every row.
        fraction (`float`): Share of rows to hold out, in (0, 1).
        seed (`int`): Seed of the draw.

    Returns:
        `tuple[list[int], list[int]]`: Sorted indices of the rows to train on, and of the rows to hold out.
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
    if not drawn and len(names) > 1:  # every group is far larger than the share
        drawn.add(min(names, key=sizes.__getitem__))
    rows = range(len(groups))
    return [row for row in rows if groups[row] not in drawn], [row for row in rows if groups[row] in drawn]
