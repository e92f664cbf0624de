"""The held-out slice of the target's training data on which α is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from .grouped_split import split_groups
from .stratified_draw import draw_by_class

#: Smallest allowed size of the slice. Fewer rows carry too little signal for α.
MIN_HOLDOUT_ROWS = 8
#: Largest share of the rows that is held out so that the slice has that size.
MAX_ADAPTED_SHARE = 0.5


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
        fraction (`float`):
            Share of rows to hold out, in (0, 1). Of a small training set, up to half is held out instead, if the slice
            would have fewer than 8 rows.
        seed (`int`): Seed of the draw, which is made once per run.
        labels (`Sequence`, *optional*):
            Class of every row. The split is stratified by class. The slice may lack rare classes.
        groups (`Sequence`, *optional*):
            Group of every row, such as its passage. A group is never split. The size of the slice, and of its classes,
            is then approximate.

    Returns:
        `tuple[list[int], list[int]]`: Sorted indices of the rows to train on, and of the rows to hold out.

    Raises:
        ValueError: If the slice has fewer than 8 rows, or if no row is left to train on.
    """
    if groups is not None and len(set(groups)) == len(groups):
        groups = None
    for share in _shares(num_rows, fraction, groups is not None):
        held_out = _draw(num_rows, share, seed, labels, groups)
        if MIN_HOLDOUT_ROWS <= len(held_out) < num_rows:
            break
    else:
        raise ValueError(_too_small(num_rows, fraction))
    drawn = set(held_out)
    return [row for row in range(num_rows) if row not in drawn], sorted(drawn)


def _shares(num_rows: int, fraction: float, grouped: bool) -> Iterator[float]:
    """The shares to try, the given one first."""
    yield fraction
    share = max(fraction, MIN_HOLDOUT_ROWS / max(num_rows, 1))
    if fraction < share <= MAX_ADAPTED_SHARE:
        yield share
    # Whole groups may be fewer rows than asked for.
    while grouped and (share := 1.25 * share) <= MAX_ADAPTED_SHARE:
        yield share


def _draw(
    num_rows: int,
    fraction: float,
    seed: int,
    labels: Sequence[Hashable] | None,
    groups: Sequence[Hashable] | None,
) -> Sequence[int]:
    """Draws the rows of a slice, which may be too small."""
    expected = round(fraction * num_rows)
    if not MIN_HOLDOUT_ROWS <= expected < num_rows:
        return []
    if groups is not None:
        held_out: Sequence[int] = split_groups(groups, fraction, seed, labels)[1]
    elif labels is not None:
        held_out = draw_by_class(labels, expected, seed)
    else:
        from sklearn.model_selection import train_test_split

        held_out = train_test_split(range(num_rows), test_size=expected, random_state=seed)[1]
    return held_out if labels is None else _without_whole_classes(held_out, labels, groups)


def _without_whole_classes(
    held_out: Sequence[int], labels: Sequence[Hashable], groups: Sequence[Hashable] | None
) -> Sequence[int]:
    """Returns to training the classes that are entirely in the slice, with their groups, if enough rows are left."""
    trained = Counter(labels) - Counter(labels[row] for row in held_out)
    units = groups if groups is not None else range(len(labels))
    given_back = {units[row] for row in held_out if labels[row] not in trained}
    left = [row for row in held_out if units[row] not in given_back]
    return left if len(left) >= MIN_HOLDOUT_ROWS else held_out


def _too_small(num_rows: int, fraction: float) -> str:
    return (
        f"the held-out slice on which α is fitted would have fewer than {MIN_HOLDOUT_ROWS} of the target's {num_rows} "
        f"training rows, or leave none to train on (alpha_holdout_fraction={fraction}): change "
        "`alpha_holdout_fraction`, or fit α on other data with `alpha_data='train'` or 'validation'"
    )
