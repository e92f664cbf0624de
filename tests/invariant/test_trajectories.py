"""Committed trajectories of losses, α and weights, which equivalent settings reproduce.

If a change moves them on purpose, `python tests/invariant/test_trajectories.py` (with tests/ and its reference/ on
PYTHONPATH) rewrites trajectories.json. The commit says why.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from support.forking import fork_runs
from support.toy_run import run_toy

COMMITTED = Path(__file__).with_name("trajectories.json")
# Float64 and no dropout: batch × accumulation, ranks and workers change nothing but the order of sums.
TOLERANCE = 1e-9

METHODS = {
    "alphavil": {"optim": "adamw_torch", "learning_rate": 0.01, "weight_applies_to": "learning_rate"},
    "alphavil_joint": {
        "joint_fraction": 0.4,
        "delta_fraction": 0.7,
        "weight_applies_to": "loss",
        "max_grad_norm": 0.5,
    },
    "multitask": {"method": "multitask", "optim_args": "momentum=0.9"},
    "single": {"method": "single"},
}
EQUIVALENT = {
    "batch 8": {"per_device_train_batch_size": 8},
    "batch 4, accumulation 2": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "batch 1, accumulation 8": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "two workers": {"per_device_train_batch_size": 8, "dataloader_num_workers": 2},
}
TWO_RANKS = {
    "two ranks, batch 4": {"per_device_train_batch_size": 4},
    "two ranks, batch 2, accumulation 2": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    "two ranks, task-parallel": {"per_device_train_batch_size": 8, "phase_parallel": "on"},
    "two ranks, task-parallel, accumulation 4": {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "phase_parallel": "on",
    },
}


def settings_of(method, equivalent):
    return {"num_train_epochs": 3, "logging_strategy": "epoch", **METHODS[method], **equivalent}


def trajectory(run):
    """Per phase the mean losses, per epoch α, weights and meta losses, and the norms of the final parameters."""
    losses = [
        {key: value for key, value in entry.items() if key.startswith("loss_")}
        for entry in run["log_history"]
        if any(key.startswith("loss_") for key in entry)
    ]
    epochs = [{key: entry[key] for key in ("alpha", "task_weights", "meta_loss")} for entry in run["history"]]
    norms = {name: float(torch.linalg.vector_norm(tensor)) for name, tensor in run["state"].items()}
    return {"losses": losses, "epochs": epochs, "norms": norms}


def flatten(value, place=""):
    """Nested numbers as {place: number}."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {place: value}
    return {name: number for key, item in items for name, number in flatten(item, f"{place}/{key}").items()}


def assert_reproduces(run, method):
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))[method]
    assert flatten(trajectory(run)) == pytest.approx(flatten(committed), rel=TOLERANCE, abs=TOLERANCE)


# The others are of αVIL alone, but for the slow tests.
FOR_ALL = ("batch 8", "batch 4, accumulation 2")


@pytest.mark.parametrize(
    ("equivalent", "method"),
    [
        pytest.param(
            equivalent, method, marks=[pytest.mark.slow] if equivalent not in FOR_ALL and method != "alphavil" else []
        )
        for equivalent in EQUIVALENT
        for method in METHODS
    ],
)
def test_one_process(method, equivalent, tmp_path):
    assert_reproduces(run_toy(tmp_path, **settings_of(method, EQUIVALENT[equivalent])), method)


TWO_RANK_CASES = [
    (method, name)
    for method in METHODS
    for name, settings in TWO_RANKS.items()
    if method == "alphavil" or "phase_parallel" not in settings
]


@pytest.mark.distributed
@pytest.mark.parametrize(
    "cases", [TWO_RANK_CASES[::3], pytest.param(TWO_RANK_CASES, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_two_processes(cases, tmp_path):
    runs = [
        {"output_dir": str(tmp_path / str(i)), **settings_of(method, TWO_RANKS[name])}
        for i, (method, name) in enumerate(cases)
    ]
    for (method, _), run in zip(cases, fork_runs(run_toy, runs, "ddp", 2), strict=True):
        assert_reproduces(run, method)


def test_the_trajectories_move():
    """A different seed is a different run: the comparison can fail."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_toy(folder, **settings_of("alphavil", EQUIVALENT["batch 8"]), seed=1)
    with pytest.raises(AssertionError):
        assert_reproduces(run, "alphavil")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = {name: trajectory(run_toy(folder, **settings_of(name, EQUIVALENT["batch 8"]))) for name in METHODS}
    COMMITTED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
