"""The held-out slice is stratified, grouped and seeded, and refused if it is too small."""

from collections import Counter

import pytest

from hf_alphavil.data import split_holdout


def test_parts_cover_the_rows_once_and_follow_the_seed():
    train, held_out = split_holdout(200, 0.1, seed=0)
    assert len(held_out) == 20
    assert sorted(train + held_out) == list(range(200))
    assert split_holdout(200, 0.1, seed=0) == (train, held_out)
    assert split_holdout(200, 0.1, seed=1) != (train, held_out)


def test_stratified_by_label():
    labels = [0] * 150 + [1] * 40 + [2] * 10
    _, held_out = split_holdout(200, 0.1, seed=0, labels=labels)
    assert Counter(labels[row] for row in held_out) == {0: 15, 1: 4, 2: 1}


@pytest.mark.parametrize("labels", [None, [row % 2 for row in range(200)]])
def test_groups_are_never_split(labels):
    groups = [f"passage {row // 5}" for row in range(200)]
    train, held_out = split_holdout(200, 0.2, seed=0, labels=labels, groups=groups)
    assert not {groups[row] for row in train} & {groups[row] for row in held_out}
    assert 30 <= len(held_out) <= 50


@pytest.mark.parametrize(
    ("num_rows", "labels"), [(50, None), (400, [0] * 399 + [1]), (100, [row % 20 for row in range(100)])]
)
def test_the_error_about_a_small_slice_says_what_to_do(num_rows, labels):
    """Too few rows; a class of one row, which cannot be on both sides; enough rows, but too few for every class."""
    with pytest.raises(ValueError, match="change `alpha_holdout_fraction`, or fit α on other data with `alpha_data="):
        split_holdout(num_rows, 0.1, seed=0, labels=labels)
