"""The demo: its command, and its claims on seeds that were not used to choose its constants."""

import json
import math
import re

import pytest

from benchmarks.demo_suite import FRESH_SEEDS, check_claims, format_results, run_seed
from hf_alphavil.demo.run import DEMO_METHODS, run_demo_method
from hf_alphavil.demo.suite import demo_encoder, demo_tasks
from hf_alphavil.methods import METHODS
from support.driving import drive, refused_by_driver


def test_the_command_leaves_its_files_and_its_claims_hold(tmp_path):
    seed = FRESH_SEEDS[0]
    run = drive("--demo", "--use_cpu", "--seed", seed, "--output_dir", tmp_path)
    history = json.loads((tmp_path / "alphavil_history.json").read_text(encoding="utf-8"))
    assert (tmp_path / "plots" / "task_weights.png").stat().st_size > 0
    first_words = [line.split()[0] for line in run.stdout.splitlines() if line.strip()]
    assert {"helpful", "unrelated", "noise", *DEMO_METHODS} <= set(first_words)
    accuracy = {
        method: float(re.search(rf"^{method}: target test accuracy (\S+)$", run.stdout, re.M)[1])
        for method in DEMO_METHODS
    }
    results = [{"seed": seed, "accuracy": accuracy, "weights": history[-1]["task_weights"]}]
    assert all(check_claims(results).values()), format_results(results)


@pytest.mark.slow
def test_the_claims_hold_on_two_more_fresh_seeds():
    """The command's test checks the first seed; `benchmarks/demo_suite.py` runs all five."""
    results = [run_seed(seed) for seed in FRESH_SEEDS[1:3]]
    assert all(check_claims(results).values()), format_results(results)


def test_method_all_is_for_the_demo_only(tmp_path):
    arguments = ["--use_cpu", "--output_dir", tmp_path, "--target", "rte", "--method", "all"]
    said = refused_by_driver(arguments, tmp_path)
    assert "--method all is only for --demo: add --demo, or pass one of alphavil" in said


OTHER_METHODS = [name for name in METHODS if name not in DEMO_METHODS]


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """The demo's tasks, and the folder of its encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    demo_encoder(folder, 0)
    return demo_tasks(0), folder


def run_small(method, suite, rows, test_rows, folder, **settings):
    """Trains on the first rows of each task; returns the target's accuracy. All task weights must be finite."""
    tasks = {name: task.select(rows.get(name), test_rows) for name, task in suite[0].items()}
    score, history = run_demo_method(method, tasks, suite[1], folder, use_cpu=True, disable_tqdm=True, **settings)
    for entry in history:
        assert entry["task_weights"].keys() == tasks.keys()
        assert all(math.isfinite(weight) for weight in entry["task_weights"].values())
    return score, history


@pytest.mark.parametrize("method", OTHER_METHODS)
def test_every_method_runs_on_the_demo_suite(method, suite, tmp_path):
    rows = dict.fromkeys(suite[0], 64)
    score, history = run_small(method, suite, rows, 100, tmp_path, num_train_epochs=2, per_device_train_batch_size=16)
    assert 0 < score < 1
    assert [entry["epoch"] for entry in history] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_every_method_learns_the_demo_suite(method, suite, tmp_path):
    """Two epochs at a higher learning rate are enough to beat chance on the target."""
    score, _ = run_small(method, suite, {}, None, tmp_path, num_train_epochs=2, learning_rate=2e-3)
    assert score > 0.55  # 2,000 test rows: chance is 0.5 ± 0.022
