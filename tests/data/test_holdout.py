"""The held-out slice is stratified, grouped and seeded, and refused if it is too small."""

from collections import Counter

import pytest

from hf_alphavil.data import split_holdout
from hf_alphavil.data.holdout import MIN_HOLDOUT_ROWS


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


@pytest.mark.parametrize("rows_of_rare_class", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("groups", [None, [row // 4 for row in range(200)]])
def test_a_rare_class_keeps_a_row_to_train_on(rows_of_rare_class, groups):
    labels = [row % 2 for row in range(200 - rows_of_rare_class)] + ["rare"] * rows_of_rare_class
    for seed in range(5):
        train, held_out = split_holdout(200, 0.1, seed, labels, groups)
        assert sorted(train + held_out) == list(range(200))
        assert 16 <= len(held_out) <= 24
        assert {labels[row] for row in train} == {0, 1, "rare"}
        assert Counter(labels[row] for row in held_out)[0] == pytest.approx(10, abs=2)


@pytest.mark.parametrize("rows_per_class", [2, 5])
def test_the_slice_may_have_fewer_rows_than_there_are_classes(rows_per_class):
    labels = [row // rows_per_class for row in range(100)]
    train, held_out = split_holdout(100, 0.1, seed=0, labels=labels)
    assert sorted(train + held_out) == list(range(100))
    assert len(held_out) == 10 == len({labels[row] for row in held_out})
    assert {labels[row] for row in train} == set(labels)


def test_labels_that_all_differ_do_not_matter():
    _, held_out = split_holdout(100, 0.1, seed=0, labels=range(100))
    assert len(held_out) == 10


@pytest.mark.parametrize(
    ("num_rows", "fraction", "groups"),
    [(15, 0.1, None), (200, 0.999, None), (200, 0.1, [0] * 200)],
    ids=["few rows", "no rows left to train on", "one group"],
)
def test_the_error_about_a_small_slice_says_what_to_do(num_rows, fraction, groups):
    labels = [row % 3 for row in range(num_rows)]
    with pytest.raises(ValueError, match="change `alpha_holdout_fraction`, or fit α on other data with `alpha_data="):
        split_holdout(num_rows, fraction, seed=0, labels=labels, groups=groups)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("num_rows", [16, 17, 64, 79])
def test_the_share_of_a_small_training_set_is_raised(num_rows, labelled):
    labels = [row % 3 for row in range(num_rows)] if labelled else None
    train, held_out = split_holdout(num_rows, 0.1, seed=0, labels=labels)
    assert len(held_out) == MIN_HOLDOUT_ROWS
    assert sorted(train + held_out) == list(range(num_rows))
    assert split_holdout(num_rows, MIN_HOLDOUT_ROWS / num_rows, seed=0, labels=labels) == (train, held_out)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("num_rows", "size"), [(40, 5), (64, 6), (85, 5), (200, 100)])
def test_groups_of_a_small_training_set_stay_whole(num_rows, size, labelled):
    labels = [row % 2 for row in range(num_rows)] if labelled else None
    groups = [row // size for row in range(num_rows)]
    for seed in range(5):
        train, held_out = split_holdout(num_rows, 0.1, seed, labels, groups)
        assert MIN_HOLDOUT_ROWS <= len(held_out) <= num_rows / 2 + size
        assert not {groups[row] for row in train} & {groups[row] for row in held_out}
