"""The order of steps in the weight rule, and the number of epochs after which a task is pruned."""

import numpy as np
import pytest

from hf_alphavil.methods.pruning import Pruning
from hf_alphavil.methods.weights import WeightRule

WEIGHTS = {"a": 1.5, "b": 0.3}


def test_bounds_then_average_then_normalisation():
    rule = WeightRule("a", minimum=0.1, maximum=2.0, normalization="all", average=0.75)
    stepped = rule.step(WEIGHTS, {"a": 3.0, "b": -4.0}, 1.0)
    assert stepped == pytest.approx({"a": 0.75 * 1.5 + 0.25 * 2.0, "b": 0.75 * 0.3 + 0.25 * 0.1})
    mean = sum(stepped.values()) / 2
    assert rule.normalized(stepped) == pytest.approx({task: weight / mean for task, weight in stepped.items()})


def test_within_the_bounds_it_is_a_shorter_step():
    rule = WeightRule("a", minimum=0.0, maximum=None, normalization="none", average=0.6)
    stepped = rule.step(WEIGHTS, {"a": 0.5, "b": 2.0}, 0.5)
    assert stepped == pytest.approx({"a": 1.5, "b": 0.3 + 0.4 * 3.0})
    assert rule.normalized(stepped) == stepped


def test_without_an_average_the_rule_steps_in_full():
    rule = WeightRule("a", minimum=0.1, maximum=None, normalization="none")
    assert rule.step({"a": 1 / 3}, {"a": 1.1}, 1.0) == {"a": 1 / 3 + 1.1 - 1.0}


def test_a_change_has_a_limit_and_bounds_go_before_it():
    rule = WeightRule("a", minimum=0.1, maximum=2.0, normalization="none", max_change=0.25)
    weights = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.2, "e": 3.0}
    stepped = rule.step(weights, {"a": 2.0, "b": -4.0, "c": 1.1, "d": 0.0, "e": 1.0}, 1.0)
    assert stepped == pytest.approx({"a": 1.25, "b": 0.75, "c": 1.1, "d": 0.1, "e": 2.0})


@pytest.mark.parametrize("normalization", ["none", "all", "auxiliaries", "target"])
def test_the_target_keeps_its_least_weight_whatever_happens(normalization):
    """Random α, hundreds of epochs: the bound holds exactly, and what is normalised has mean 1."""
    rule = WeightRule("a", 0.1, 3.0, normalization, target_minimum=0.7)
    random, weights, at_bound = np.random.default_rng(0), dict.fromkeys("abcd", 1.0), 0
    for _ in range(300):
        stepped = rule.step(
            weights, dict(zip("abcd", random.normal([0.9, 1.1, 1, 1], 0.5).tolist(), strict=True)), 1.0
        )
        weights = rule.normalized(stepped)
        assert weights["a"] >= 0.7
        at_bound += weights["a"] == 0.7
        auxiliaries = [weights[task] for task in "bcd"]
        assert auxiliaries == pytest.approx(
            [stepped[t] * sum(auxiliaries) / sum(map(stepped.get, "bcd")) for t in "bcd"]
        )
        wanted = {"none": stepped["a"], "auxiliaries": stepped["a"], "target": 1.0, "all": 4 - sum(auxiliaries)}
        assert weights["a"] == pytest.approx(wanted[normalization])
        if normalization == "auxiliaries":
            assert sum(auxiliaries) == pytest.approx(3)
        if normalization == "target":
            assert weights["b"] == pytest.approx(stepped["b"] / stepped["a"])
    assert (at_bound > 20) == (normalization != "target"), at_bound


@pytest.mark.parametrize("normalization", ["all", "auxiliaries", "target"])
def test_a_target_whose_auxiliaries_are_all_pruned(normalization):
    rule = WeightRule("a", 0.1, None, normalization, target_minimum=1.0)
    assert rule.normalized({"a": 1.5}) == {"a": 1.5 if normalization == "auxiliaries" else 1.0}


def test_a_task_is_pruned_after_enough_consecutive_epochs():
    pruning = Pruning(0.2, patience=2, target="a")
    low, high = {"a": 0.1, "b": 0.2, "c": 0.1}, {"a": 0.1, "b": 0.21, "c": 0.1}
    assert pruning.observe(low) == []
    saved = pruning.state_dict()
    assert pruning.observe(high) == ["c"]
    assert pruning.observe({"a": 0.1, "b": 0.1}) == []
    assert pruning.observe({"a": 0.1, "b": 0.1}) == ["b"]
    assert pruning.pruned == ["c", "b"]
    resumed = Pruning(0.2, patience=2, target="a")
    resumed.load_state_dict(saved)
    assert resumed.observe(low) == ["b", "c"]


def test_without_a_bound_no_task_is_pruned():
    pruning = Pruning(None, patience=1, target="a")
    assert pruning.observe({"a": 0.0, "b": 0.0}) == []
