"""`multitask` and `single` equal an independent straight-line computation, on one process and two."""

from collections import Counter

import pytest
import torch

from reference.straight_tawt import straight_tawt
from support.forking import fork_runs
from support.toy_run import TARGET, run_toy, toy_data, toy_model, toy_trainer


def assert_equals_reference(run, method, tolerance):
    train, _ = toy_data()
    train = {TARGET: train[TARGET]} if method == "single" else train
    # With a step size of 0, TAWT's weights stay at 1: plain joint training.
    settings = {"epochs": 3, "learning_rate": 0.1, "per_step_rows": 8, "data_seed": 42, "eta": 0.0}
    records = straight_tawt(toy_model(), train, TARGET, **settings)
    for entry, epoch, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["task_weights"] == entry["task_weights_used"] == dict.fromkeys(train, 1.0)
        for name, parameter in record["theta"].items():
            torch.testing.assert_close(epoch["theta"][name], parameter, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", ["multitask", "single"])
def test_equals_the_straight_line(method, tmp_path):
    assert_equals_reference(run_toy(tmp_path, method=method), method, 1e-9)


@pytest.mark.parametrize("weight_applies_to", ["loss", "learning_rate"])
def test_multitask_keeps_the_given_weights(weight_applies_to, tmp_path):
    weights, (train, _) = {"a": 0.25, "b": 2.0}, toy_data()
    run = run_toy(tmp_path, method="multitask", task_weights=weights, weight_applies_to=weight_applies_to)
    # The reference scales weights to mean 1: the learning rate makes up for it.
    settings = {"epochs": 3, "learning_rate": 0.1 * 3.25 / 3, "per_step_rows": 8, "data_seed": 42, "eta": 0.0}
    records = straight_tawt(toy_model(), train, TARGET, start=weights, **settings)
    for entry, epoch, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["task_weights"] == entry["task_weights_used"] == weights | {"c": 1.0}
        for name, parameter in record["theta"].items():
            torch.testing.assert_close(epoch["theta"][name], parameter, rtol=1e-9, atol=1e-9)


def test_multitask_draws_tasks_by_the_given_weights(tmp_path):
    settings = {"method": "multitask", "task_sampling": "weights", "task_weights": {"a": 3.0}}
    runner = toy_trainer(tmp_path, **settings).runner
    runner.begin_run(1)
    (phase,) = runner.plan.phases
    drawn = Counter(task for (task,) in phase.step_tasks)
    assert drawn == {"a": 9, "b": 3, "c": 3}
    assert not phase.weighted


@pytest.mark.parametrize("method", ["multitask", "alphavil"])
def test_a_weight_of_a_task_that_is_not_trained(method, tmp_path):
    with pytest.raises(ValueError, match="task_weights: the run does not train a task 'B': pass weights of a, b, c"):
        _ = toy_trainer(tmp_path, method=method, task_weights={"B": 2.0}).runner


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"task_weights": {"a": 0.05}},
            "task_weights: 'a' starts at 0.05, outside its bounds: pass a weight from 0.1 to",
        ),
        ({"task_weights": {"a": 0.5}, "min_target_weight": 0.6}, "'a' starts at 0.5, .* from 0.6 to inf"),
        ({"task_weights": {"c": 3.0}, "max_task_weight": 2.0}, "'c' starts at 3.0, .* from 0.1 to 2.0"),
    ],
)
def test_a_start_outside_the_bounds(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        _ = toy_trainer(tmp_path, **settings).runner


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    methods = ("multitask", "single")
    runs = [{"output_dir": str(tmp_path / name), "method": name, "per_device_train_batch_size": 4} for name in methods]
    for method, run in zip(methods, fork_runs(run_toy, runs, "ddp", 2), strict=True):
        assert_equals_reference(run, method, 1e-6)
