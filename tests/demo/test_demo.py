"""The demo: its command, and its claims on seeds that were not used to choose its constants."""

import json
import math
import re

import pytest

from benchmarks import demo_suite
from benchmarks.demo_suite import FRESH_SEEDS, check_claims, format_results, run_seed
from hf_alphavil.demo import run as demo_run
from hf_alphavil.demo.run import DEMO_METHODS, run_demo_method
from hf_alphavil.demo.suite import demo_encoder, demo_tasks
from hf_alphavil.methods import METHODS
from support.driving import command_line, drive, refused_by_driver
from support.forking import fork


def check_files(folder, output):
    """Checks what the command leaves; returns the accuracy by method and αVIL's last task weights."""
    history = json.loads((folder / "alphavil_history.json").read_text(encoding="utf-8"))
    assert (folder / "plots" / "task_weights.png").stat().st_size > 0
    assert "helpful" in (folder / "alphavil" / "report.html").read_text(encoding="utf-8")
    first_words = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert {"helpful", "unrelated", "noise", *DEMO_METHODS} <= set(first_words)
    accuracy = {
        method: float(re.search(rf"^{method}: target test accuracy (\S+)$", output, re.M)[1])
        for method in DEMO_METHODS
    }
    return {"accuracy": accuracy, "weights": history[-1]["task_weights"]}


def call_with_little_data(call, *arguments):
    """Calls the command on few rows in two epochs."""
    tasks = demo_run.demo_tasks
    demo_run.demo_tasks = lambda seed: {name: task.select(64, 100) for name, task in tasks(seed).items()}
    demo_run.DEMO_SETTINGS["num_train_epochs"] = 2.0
    call(*arguments)


def test_the_command_leaves_its_files(tmp_path):
    run = fork(call_with_little_data, *command_line(["--demo", "--use_cpu", "--output_dir", tmp_path]))
    assert run.returncode == 0, run.stderr
    check_files(tmp_path, run.stdout)


@pytest.mark.slow
def test_the_claims_of_the_command_hold(tmp_path):
    seed = FRESH_SEEDS[0]
    run = drive("--demo", "--use_cpu", "--seed", seed, "--output_dir", tmp_path)
    results = [{"seed": seed, **check_files(tmp_path, run.stdout)}]
    assert all(check_claims(results).values()), format_results(results)


def run_seeds_with_little_data(seeds):
    """The results of `benchmarks/demo_suite.py` on few rows in two epochs, and its table."""
    demo_suite.demo_tasks = lambda seed: {name: task.select(64, 100) for name, task in demo_tasks(seed).items()}
    demo_run.DEMO_SETTINGS["num_train_epochs"] = 2.0
    results = [run_seed(seed) for seed in seeds]
    return results, check_claims(results), format_results(results)


@pytest.mark.slow
def test_the_benchmark_compares_the_methods_on_each_seed():
    """The command's test checks the claims on the first seed; the benchmark itself, on all five."""
    results, claims, table = fork(run_seeds_with_little_data, FRESH_SEEDS[1:3]).result
    assert [result["seed"] for result in results] == list(FRESH_SEEDS[1:3])
    assert results[0]["accuracy"] != results[1]["accuracy"]
    for result in results:
        assert list(result["accuracy"]) == list(DEMO_METHODS)
        assert result["weights"].keys() == demo_tasks(0).keys()
        assert f"| {result['seed']} | " in table
    assert all(("holds" if holds else "FAILS") + f": {claim}" in table for claim, holds in claims.items())


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


@pytest.mark.parametrize("method", ["diw", "forkmerge", "meta_tartan", "pcgrad", "tawt"])
def test_a_method_of_each_family_runs_on_the_demo_suite(method, suite, tmp_path):
    rows = dict.fromkeys(suite[0], 32)
    score, history = run_small(method, suite, rows, 50, tmp_path, num_train_epochs=2, per_device_train_batch_size=16)
    assert 0 < score < 1
    assert [entry["epoch"] for entry in history] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_every_method_learns_the_demo_suite(method, suite, tmp_path):
    """Two epochs at a higher learning rate, beside a task that helps and one of noise, are enough to beat chance."""
    tasks, encoder = suite
    others = {name: task for name, task in tasks.items() if name != "unrelated"}
    score, _ = run_small(method, (others, encoder), {}, None, tmp_path, num_train_epochs=2, learning_rate=2e-3)
    assert score > 0.55  # 2,000 test rows: chance is 0.5 ± 0.022
