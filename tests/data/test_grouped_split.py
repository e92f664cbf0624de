"""A split by groups is as well stratified as scikit-learn's, and takes time linear in the number of rows."""

import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from hf_alphavil.data.grouped_split import split_groups


def drawn_rows(seed, num_rows=1500):
    """Groups of like sizes or of very different ones, and classes that may depend on the group."""
    random = np.random.default_rng(seed)
    num_groups, num_classes = int(random.integers(100, 500)), int(random.integers(2, 6))
    groups = random.integers(0, num_groups, num_rows) if seed % 2 else random.zipf(1.6, num_rows) % num_groups
    shares = random.dirichlet(np.ones(num_classes))
    labels = random.choice(num_classes, num_rows, p=shares)
    if seed % 3 == 0:
        labels = np.where(random.random(num_rows) < 0.4, labels, groups % num_classes)
    return groups.tolist(), [f"class {label}" for label in labels]


def distance(labels, held_out, fraction):
    """χ² distance of the held-out classes from their shares."""
    drawn = Counter(labels[row] for row in held_out)
    return sum((drawn[label] - fraction * rows) ** 2 / (fraction * rows) for label, rows in Counter(labels).items())


@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
@pytest.mark.parametrize("seed", range(12))
def test_classes_are_as_close_to_their_shares_as_those_of_scikit_learn(seed):
    groups, labels = drawn_rows(seed)
    fraction = (0.05, 0.1, 0.2, 0.25)[seed % 4]
    train, held_out = split_groups(groups, fraction, seed, labels)
    folds = StratifiedGroupKFold(round(1 / fraction), shuffle=True, random_state=seed)
    theirs = next(folds.split(labels, labels, groups))[1].tolist()
    assert sorted(train + held_out) == list(range(len(groups)))
    assert not {groups[row] for row in train} & {groups[row] for row in held_out}
    assert split_groups(groups, fraction, seed, labels) == (train, held_out)
    assert distance(labels, held_out, fraction) <= distance(labels, theirs, fraction) + 1.5
    wanted = fraction * len(groups)
    assert abs(len(held_out) - wanted) <= max(0.01 * len(groups), abs(len(theirs) - wanted))


def test_the_seed_draws():
    groups, labels = drawn_rows(1)
    assert split_groups(groups, 0.1, 1, labels) != split_groups(groups, 0.1, 2, labels)


def lines_of_split(groups, labels):
    """How many lines Python runs for a split."""
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    sys.settrace(count)
    try:
        split_groups(groups, 0.1, 0, labels)
    finally:
        sys.settrace(None)
    return lines


@pytest.mark.parametrize("labelled", [False, True])
def test_the_work_is_linear_in_the_rows(labelled):
    def lines(num_rows):
        labels = [row % 3 for row in range(num_rows)] if labelled else None
        return lines_of_split([row // 3 for row in range(num_rows)], labels)

    assert lines(6000) < 2.1 * lines(3000)
    assert lines(3000) < 30 * 3000
