"""The demo: its command, and its claims on seeds that had no part in the choice of its constants."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.demo_suite import FRESH_SEEDS, check_claims, format_results, run_seed
from hf_alphavil.demo_run import DEMO_METHODS

ROOT = Path(__file__).parents[1]


def test_the_command_leaves_its_files_and_prints_its_tables(tmp_path):
    command = [sys.executable, "run_glue_avil.py", "--demo", "--use_cpu", "--output_dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    history = json.loads((tmp_path / "alphavil_history.json").read_text(encoding="utf-8"))
    assert history
    assert (tmp_path / "plots" / "task_weights.png").stat().st_size > 0
    for method in DEMO_METHODS:
        assert f"{method}: target test accuracy" in run.stdout
    first_words = [line.split()[0] for line in run.stdout.splitlines() if line.strip()]
    assert {"helpful", "unrelated", "noise", *DEMO_METHODS} <= set(first_words)


@pytest.mark.slow
def test_the_claims_hold_on_fresh_seeds():
    results = [run_seed(seed) for seed in FRESH_SEEDS]
    assert all(check_claims(results).values()), format_results(results)
