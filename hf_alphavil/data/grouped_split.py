"""Holds out whole groups of rows. By hand: scikit-learn draws a share of the groups, not of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

#: Passes over the groups, with labels.
PASSES = 2


def split_groups(
    groups: Sequence[Hashable], fraction: float, seed: int, labels: Sequence[Hashable] | None = None
) -> tuple[list[int], list[int]]:
    """
    Draws groups in random order and holds out each one that brings the number of held-out rows closer to the share.

    With labels, the numbers of rows of each class count: a group is held out if it lowers their squared distances
    from the share of the class, each divided by that share (χ²). Classes of which less than one row is wanted count
    together. A second pass gives groups back, or takes others, where that comes closer. The number of passes is fixed,
    so that the time is linear in the number of rows.

    At least one group is held out if there are two or more. scikit-learn's `GroupShuffleSplit` draws a share of the
    groups instead; if groups have unequal sizes, that can be any share of the rows.

    Args:
        groups (`Sequence`): The group of every row.
        fraction (`float`): Share of rows to hold out, in (0, 1).
        seed (`int`): Seed of the draw.
        labels (`Sequence`, *optional*): Class of every row.

    Returns:
        `tuple[list[int], list[int]]`: Sorted indices of the rows to train on, and of the rows to hold out.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    wanted, classes = _shares(groups if labels is None else labels, fraction, labels is not None)
    cells, sizes = np.unique(
        np.array([names[group] for group in groups], dtype=np.int64) * len(wanted) + classes, return_counts=True
    )
    # Of each group: its classes, each with its number of rows.
    parts = list(zip((cells % len(wanted)).tolist(), sizes.tolist(), strict=True))
    starts = np.searchsorted(cells, np.arange(len(names) + 1) * len(wanted)).tolist()
    held_out = _draw(
        [parts[start:end] for start, end in pairwise(starts)], wanted, seed, passes=1 if labels is None else PASSES
    )
    drawn = {name for name, number in names.items() if held_out[number]}
    rows = range(len(groups))
    return [row for row in rows if groups[row] not in drawn], [row for row in rows if groups[row] in drawn]


def _draw(groups: Sequence[Sequence[tuple[int, int]]], wanted: Sequence[float], seed: int, passes: int) -> list[bool]:
    """Whether each group, of which the rows of each class are given, is held out."""
    missing, drawn = list(wanted), [False] * len(groups)
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    for _ in range(passes):
        for number in order:
            sign = -1 if drawn[number] else 1
            if sum(rows * (rows - 2 * sign * missing[c]) / wanted[c] for c, rows in groups[number]) < 0:
                drawn[number] = not drawn[number]
                for c, rows in groups[number]:
                    missing[c] -= sign * rows
    if not any(drawn) and len(groups) > 1:  # every group is far larger than the share
        drawn[min(range(len(groups)), key=lambda number: sum(rows for _, rows in groups[number]))] = True
    return drawn


def _shares(values: Sequence[Hashable], fraction: float, are_labels: bool) -> tuple[list[float], Sequence[int]]:
    """The rows to hold out of each class, and the number of the class of every row."""
    frequent = [label for label, rows in Counter(values).items() if fraction * rows >= 1] if are_labels else []
    number_of = {label: number for number, label in enumerate(frequent)}
    classes = [number_of.get(value, len(frequent)) for value in values]
    rows_of = Counter(classes)
    return [fraction * rows_of[number] for number in range(len(frequent) + 1)], classes
