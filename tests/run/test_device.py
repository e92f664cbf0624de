"""Runs on the device that `pytest --device` names, where settings must not change a number.

`benchmarks/gpu_check.sh` runs this file and test_exactness.py on a GPU.
"""

import pytest
import torch

from support.toy_run import DEVICE, NOISY_RUN, run_toy, toy_trainer

ADAM = NOISY_RUN | {"num_train_epochs": 2, "dataloader_pin_memory": DEVICE == "cuda"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The run that all others are compared with."""
    return run_toy(tmp_path_factory.mktemp("plain"), **ADAM)


def assert_same_run(run, other):
    for name, value in other["state"].items():
        assert torch.equal(run["state"][name], value), name
    for mine, theirs in zip(run["history"], other["history"], strict=True):
        assert mine["alpha"] == theirs["alpha"]
        assert mine["task_weights"] == theirs["task_weights"]


def test_the_run_is_on_the_device(tmp_path):
    trainer = toy_trainer(tmp_path, **ADAM)
    trainer.train()
    assert {parameter.device.type for parameter in trainer.model.parameters()} == {DEVICE}


def test_a_second_run_is_equal(plain, tmp_path):
    assert_same_run(run_toy(tmp_path, **ADAM), plain)


def test_where_optimizer_states_are_kept_changes_nothing(plain, tmp_path):
    assert_same_run(run_toy(tmp_path, **ADAM, optimizer_state_device="cpu"), plain)


def test_where_deltas_are_kept_changes_rounding_on_cuda_only(plain, tmp_path):
    run = run_toy(tmp_path, **ADAM, delta_device="cpu")
    if DEVICE == "cpu":
        assert_same_run(run, plain)
    for mine, theirs in zip(run["history"], plain["history"], strict=True):
        assert mine["alpha"] == pytest.approx(theirs["alpha"], rel=1e-4)
    for name, value in plain["state"].items():
        torch.testing.assert_close(run["state"][name], value, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("stop", [3, 11, 17])
def test_resume_is_bit_equal(stop, plain, tmp_path):
    run_toy(tmp_path / "first", **ADAM, save_strategy="steps", save_steps=stop, save_total_limit=None)
    checkpoint = tmp_path / "first" / f"checkpoint-{stop}"
    resumed = run_toy(tmp_path / "second", resume_from_checkpoint=str(checkpoint), **ADAM)
    assert_same_run(resumed, plain)


def test_bf16_trains_and_resumes(tmp_path):
    settings = ADAM | {"bf16": True}
    whole = run_toy(tmp_path / "whole", **settings)
    assert all(torch.isfinite(value).all() for value in whole["state"].values() if value.is_floating_point())
    assert any(alpha != 1.0 for alpha in whole["history"][0]["alpha"].values())
    run_toy(tmp_path / "first", **settings, save_strategy="steps", save_steps=7)
    resumed = run_toy(tmp_path / "second", resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-7"), **settings)
    assert_same_run(resumed, whole)


@pytest.mark.skipif(DEVICE == "cpu", reason="fp16 is refused on a CPU")
def test_fp16_trains_with_the_real_scaler(tmp_path):
    run = run_toy(tmp_path, **ADAM | {"fp16": True})
    assert all(torch.isfinite(value).all() for value in run["state"].values() if value.is_floating_point())
    assert any(alpha != 1.0 for alpha in run["history"][0]["alpha"].values())


def test_fused_adamw_is_close_to_the_loop(plain, tmp_path):
    fused = run_toy(tmp_path, **ADAM | {"optim": "adamw_torch_fused"})
    for name, value in plain["state"].items():
        torch.testing.assert_close(fused["state"][name], value, rtol=0, atol=2e-3, msg=name)
