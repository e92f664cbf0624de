"""Draws rows by class."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def draw_by_class(labels: Sequence[Hashable], number: int, seed: int) -> list[int]:
    """
    Draws rows of each class in proportion to its size. Rare classes may have no row in the draw.

    Args:
        labels (`Sequence`): Class of every row.
        number (`int`): Rows to draw, fewer than there are.
        seed (`int`): Seed of the draw.

    Returns:
        `list[int]`: Indices of the rows, in no order.
    """
    from sklearn.model_selection import train_test_split

    try:
        return train_test_split(range(len(labels)), test_size=number, random_state=seed, stratify=labels)[1]
    except ValueError:  # a class has one row, or there are more classes than rows on one side
        # Rows at equal distances in order of class: of each class its share, rounded up or down.
        random, place = np.random.default_rng(seed), {label: n for n, label in enumerate(dict.fromkeys(labels))}
        order = sorted(random.permutation(len(labels)).tolist(), key=lambda row: place[labels[row]])
        start = random.random()
        return [order[int((drawn + start) * len(labels) / number)] for drawn in range(number)]
