"""`multitask` and `single` equal an independent straight-line computation, on one process and two."""

import pytest
import torch

from reference.straight_tawt import straight_tawt
from support.forking import fork_runs
from support.toy_run import TARGET, run_toy, toy_data, toy_model


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


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    methods = ("multitask", "single")
    runs = [{"output_dir": str(tmp_path / name), "method": name, "per_device_train_batch_size": 4} for name in methods]
    for method, run in zip(methods, fork_runs(run_toy, runs, "ddp", 2), strict=True):
        assert_equals_reference(run, method, 1e-6)
