"""The order of steps in the weight rule, and the number of epochs after which a task is pruned."""

import pytest

from hf_alphavil.methods.pruning import Pruning
from hf_alphavil.methods.weights import WeightRule

WEIGHTS = {"a": 1.5, "b": 0.3}


def test_bounds_then_average_then_normalisation():
    rule = WeightRule(minimum=0.1, maximum=2.0, normalize=True, average=0.75)
    stepped = rule.step(WEIGHTS, {"a": 3.0, "b": -4.0}, 1.0)
    assert stepped == pytest.approx({"a": 0.75 * 1.5 + 0.25 * 2.0, "b": 0.75 * 0.3 + 0.25 * 0.1})
    mean = sum(stepped.values()) / 2
    assert rule.normalized(stepped) == pytest.approx({task: weight / mean for task, weight in stepped.items()})


def test_within_the_bounds_it_is_a_shorter_step():
    rule = WeightRule(minimum=0.0, maximum=None, normalize=False, average=0.6)
    stepped = rule.step(WEIGHTS, {"a": 0.5, "b": 2.0}, 0.5)
    assert stepped == pytest.approx({"a": 1.5, "b": 0.3 + 0.4 * 3.0})
    assert rule.normalized(stepped) == stepped


def test_without_an_average_the_rule_steps_in_full():
    rule = WeightRule(minimum=0.1, maximum=None, normalize=False)
    assert rule.step({"a": 1 / 3}, {"a": 1.1}, 1.0) == {"a": 1 / 3 + 1.1 - 1.0}


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
