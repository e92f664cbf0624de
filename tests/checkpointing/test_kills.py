"""SIGKILL at 59 places: a run that goes on from its last whole checkpoint ends as the undisturbed one, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.launching import ROOT
from support.resumed_run import RUN

HERE = Path(__file__).parent
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


def run_scenarios(scenarios, tmp_path):
    (tmp_path / "scenarios.json").write_text(json.dumps(scenarios), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests" / "support" / "forked_runs.py"), str(tmp_path / "scenarios.json")]
    finished = subprocess.run(
        [*command, str(tmp_path / "report.json"), str(tmp_path / "runs")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-6000:]
    return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def check(reports, kills, kinds):
    for report in reports:
        assert report["differences"] == [], report["name"]
    killed = [kind for report in reports for kind in report["kinds"]]
    assert len(killed) >= kills, killed
    # Most ends come from a checkpoint: without any, starting anew would give the same weights.
    assert sum(report["resumed"] for report in reports) > sum(report["runs"] for report in reports) / 2
    assert set(killed) == kinds


ALL_KINDS = {"micro_batch", "update", "alpha", "file", "moment"}


@pytest.mark.slow
def test_kills_of_one_process(tmp_path):
    scenarios = [
        {"name": name, "world": 1, "settings": BASE | settings, "kills": 5, "seed": seed}
        for seed, (name, settings) in enumerate(SETTINGS.items())
    ]
    check(run_scenarios(scenarios, tmp_path), 30, ALL_KINDS)


@pytest.mark.slow
@pytest.mark.distributed
def test_kills_of_one_of_two_processes(tmp_path):
    settings = BASE | {"per_device_train_batch_size": 2}
    scenarios = [
        {"name": name, "world": 2, "settings": settings | SETTINGS[name], "kills": 6, "seed": seed}
        for seed, name in enumerate(("forks", "joint_phase", "early_stopping", "phase_parallel"), start=10)
    ]
    check(run_scenarios(scenarios, tmp_path), 24, ALL_KINDS)
