"""SIGKILL: a run that resumes from its latest intact checkpoint equals the uninterrupted run, bit for bit."""

import pytest

from support.forked_runs import KINDS, report_scenarios
from support.forking import fork
from support.resumed_run import RUN

BASE = RUN | {"save_steps": 2, "max_phase_steps": 3}
SETTINGS = {
    "forks": {"save_total_limit": 2},
    "joint_phase": {"joint_fraction": 0.3, "dataloader_num_workers": 2},
    "reset": {"phase_optimizer_state": "reset"},
    "early_stopping": {
        "patience": 2,
        "num_train_epochs": 8,
        "max_phase_steps": 1,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        # Too high: two evaluations in a row get no better, and training stops in the middle.
        "learning_rate": 3.0,
    },
    "phase_parallel": {"phase_parallel": "auto", "num_train_epochs": 3},  # on one process: off
    "multitask": {"method": "multitask", "eval_strategy": "steps", "eval_steps": 3},
    "single": {"method": "single"},
}


def run_scenarios(world, names, kills, seed, folder):
    settings = BASE | {"per_device_train_batch_size": BASE["per_device_train_batch_size"] // world}
    scenarios = [
        {"name": name, "world": world, "settings": settings | SETTINGS[name], "kills": kills, "seed": seed + i}
        for i, name in enumerate(names)
    ]
    finished = fork(report_scenarios, scenarios, folder, timeout=900)
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-6000:]
    reports = finished.result
    for report in reports:
        assert report["differences"] == [], report["name"]
    # Most runs must have resumed from a checkpoint, because a run from scratch would end with the same weights.
    assert sum(report["resumed"] for report in reports) > sum(report["runs"] for report in reports) / 2
    return [kind for report in reports for kind in report["kinds"]]


@pytest.mark.distributed
@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_kill_of_each_kind(world, tmp_path):
    # A random moment may come after a short run's end.
    assert set(KINDS) <= set(run_scenarios(world, ["forks"], 6, 20 + world, tmp_path))


@pytest.mark.slow
def test_kills_of_one_process(tmp_path):
    assert set(run_scenarios(1, SETTINGS, 4, 0, tmp_path)) == {*KINDS, "moment"}


@pytest.mark.slow
@pytest.mark.distributed
def test_kills_of_one_of_two_processes(tmp_path):
    run_scenarios(2, ["joint_phase", "early_stopping", "phase_parallel"], 2, 10, tmp_path)
