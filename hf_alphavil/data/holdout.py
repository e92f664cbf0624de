"""The held-out slice of the target's training data on which α is fitted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from .grouped_split import split_groups

#: Smallest allowed size of the slice. Fewer rows carry too little signal for α.
MIN_HOLDOUT_ROWS = 8


def split_holdout(
    num_rows: int,
    fraction: float,
    seed: int,
    labels: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> tuple[list[int], list[int]]:
    """
    Splits the target's training rows into rows to train on and the meta set.

    Args:
        num_rows (`int`): Rows of the target's training set, after any row limit.
        fraction (`float`): Share of rows to hold out, in (0, 1).
        seed (`int`): Seed of the draw, which is made once per run.
        labels (`Sequence`, *optional*): Class of every row. The split is stratified by class.
        groups (`Sequence`, *optional*):
            Group of every row, such as its passage. A group is never split. The size of the slice is then approximate
            (with labels: `StratifiedGroupKFold` with round(1/fraction) folds).

    Returns:
        `tuple[list[int], list[int]]`: Sorted indices of the rows to train on, and of the rows to hold out.

    Raises:
        ValueError: If the slice is too small: fewer than 8 rows, or no row of some class.
    """
    if groups is not None and len(set(groups)) == len(groups):
        groups = None
    rows = np.arange(num_rows)
    expected = round(fraction * num_rows)
    classes = set(labels) if labels is not None else set()
    if expected < max(MIN_HOLDOUT_ROWS, len(classes)) or num_rows - expected < 1:
        raise ValueError(_too_small(expected, num_rows, fraction))
    try:
        if groups is None:
            train, held_out = train_test_split(rows, test_size=expected, random_state=seed, stratify=labels)
        elif labels is None:
            train, held_out = map(np.array, split_groups(groups, fraction, seed))
        else:
            folds = StratifiedGroupKFold(max(2, round(1 / fraction)), shuffle=True, random_state=seed)
            train, held_out = next(folds.split(rows, list(labels), list(groups)))
    except ValueError as error:
        raise ValueError(f"{_too_small(expected, num_rows, fraction)} ({error})") from error
    missing = classes - {labels[row] for row in held_out} if labels is not None else set()
    if len(held_out) < MIN_HOLDOUT_ROWS or len(train) == 0 or missing:
        raise ValueError(_too_small(len(held_out), num_rows, fraction, missing))
    return sorted(train.tolist()), sorted(held_out.tolist())


def _too_small(held_out: int, num_rows: int, fraction: float, missing: set[Hashable] | None = None) -> str:
    without = f" and lacks the classes {sorted(map(str, missing))}" if missing else ""
    return (
        f"the held-out slice on which α is fitted would have {held_out} of the target's {num_rows} training rows "
        f"(alpha_holdout_fraction={fraction}){without}; it needs at least {MIN_HOLDOUT_ROWS} rows with every class, "
        "and rows left to train on: change `alpha_holdout_fraction`, or fit α on other data with "
        "`alpha_data='train'` or 'validation'"
    )
