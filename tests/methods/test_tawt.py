"""TAWT equals an independent straight-line computation, on one process and two, and resumes exactly."""

import pytest
import torch

from reference.straight_tawt import straight_tawt
from support.comparing import assert_same_run
from support.forking import fork_runs
from support.toy_run import NOISY_RUN, TARGET, run_toy, toy_data, toy_model

OPTIONS = {"weight_learning_rate": 2.0, "batch_size": 20}
CASES = {
    "loss": ({}, {}),
    "learning_rate": ({"weight_applies_to": "learning_rate", "max_grad_norm": 0.3}, {"max_grad_norm": 0.3}),
    "weights": ({"task_weights": {"b": 2.0, "c": 0.5}}, {"start": {"b": 2.0, "c": 0.5}}),
    "options": ({"method_kwargs": OPTIONS}, {"eta": 2.0, "batch_size": 20}),
}


def assert_equals_reference(run, tolerance=1e-9, **rule):
    train, _ = toy_data()
    settings = {"epochs": 3, "learning_rate": 0.1, "per_step_rows": 8, "data_seed": 42}
    records = straight_tawt(toy_model(), train, TARGET, **settings, **rule)
    for entry, epoch, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["task_weights"] == pytest.approx(record["weights"], rel=tolerance)
        assert entry.get("cosines") == (record["cosines"] and pytest.approx(record["cosines"], abs=tolerance))
        for name, parameter in record["theta"].items():
            torch.testing.assert_close(epoch["theta"][name], parameter, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_straight_line(case, tmp_path):
    settings, rule = CASES[case]
    assert_equals_reference(run_toy(tmp_path, method="tawt", **settings), **rule)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    runs = [
        {"output_dir": str(tmp_path / case), "method": "tawt", "per_device_train_batch_size": 4, **settings}
        for case, (settings, _) in CASES.items()
    ]
    for (_, rule), run in zip(CASES.values(), fork_runs(run_toy, runs, "ddp", 2), strict=True):
        assert_equals_reference(run, 1e-6, **rule)


def test_resume(tmp_path):
    settings = NOISY_RUN | {"method": "tawt", "max_phase_steps": 3, "num_train_epochs": 2}
    whole = run_toy(tmp_path / "whole", **settings, save_strategy="steps", save_steps=1)
    for step in (3, 7, 10):
        checkpoint = tmp_path / "whole" / f"checkpoint-{step}"
        assert_same_run(whole, run_toy(tmp_path / "resumed", resume_from_checkpoint=str(checkpoint), **settings))
