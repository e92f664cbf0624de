"""The measurements as a whole: a tiny run of every part by the script for a GPU, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

from bench_parts import PARTS, Row
from low_resource_data import TASKS as LOW_RESOURCE_TASKS
from workload import TASKS, pack

ROOT = Path(__file__).parents[2]


def test_a_row_knows_whether_its_target_was_met():
    assert [Row("x", 2.0, "≤", 2).met_text, Row("x", 2.1, "≤", 2).met_text, Row("x", 2.0).met_text] == [
        "yes",
        "no",
        "",
    ]
    assert [Row("x", 3.0, "≥", 3).met_text, Row("x", 2.9, "≥", 3).met_text] == ["yes", "no"]


@pytest.fixture(scope="module")
def tiny_workload(data_dir, real_encoder, tmp_path_factory):
    """A workload whose encoder is a tiny BERT, and whose tasks have few rows."""
    folder = tmp_path_factory.mktemp("workload")
    AutoTokenizer.from_pretrained(real_encoder).save_pretrained(folder / "source")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(**sizes)).save_pretrained(folder / "source")
    pack(str(data_dir), str(folder / "source"), folder / "packed")
    for name in TASKS:
        path = folder / "packed" / "tasks" / f"{name}.json"
        content = json.loads(path.read_text())
        content["train"] = {column: values[:40] for column, values in content["train"].items()}
        path.write_text(json.dumps(content))
    return folder / "packed"


@pytest.mark.slow
def test_gpu_check_runs_on_a_cpu(tiny_workload, tmp_path):
    command = [ROOT / "benchmarks" / "gpu_check.sh", tiny_workload, tmp_path / "out", "--device", "cpu", "--tiny"]
    # On a CPU, the suite itself runs the other tests of exactness.
    environment = os.environ | {"PYTHON": sys.executable, "PYTEST_ADDOPTS": "-k test_device"}
    ran = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=tmp_path, timeout=900, env=environment
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert set(report["seconds"]) == {name for name, part in PARTS.items() if "cpu" in part.devices}
    assert " passed" in (tmp_path / "out" / "tests.log").read_text()
    assert all(row["measured"] == row["measured"] for row in report["rows"])


STUDY = """
rows: {rte: [24]}
auxiliary_rows: 8
test_rows: 64
suites: [mixed]
seeds: [0]
settings: {num_train_epochs: 2, per_device_train_batch_size: 8}
methods:
  multitask: {method: multitask}
  alphavil: {method: alphavil, alpha_optimizer: secant, final_target_epochs: 1}
"""


@pytest.mark.slow
def test_gpu_study_runs_on_a_cpu(data_dir, tiny_workload, tmp_path):
    preset = tmp_path / "tiny.yaml"
    preset.write_text(STUDY)
    pack(str(data_dir), str(tiny_workload.parent / "source"), tmp_path / "packed", LOW_RESOURCE_TASKS)
    command = [ROOT / "benchmarks" / "gpu_study.sh", tmp_path / "packed", tmp_path / "out", preset, "--device", "cpu"]
    environment = os.environ | {"PYTHON": sys.executable, "JOBS": "1", "MINUTES": "5"}
    ran = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=tmp_path, timeout=900, env=environment
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = map(json.loads, (tmp_path / "out" / "tiny.jsonl").read_text().splitlines())
    assert [result["name"] for result in results] == ["multitask", "alphavil"]
    assert "| rte | 24 | mixed |" in ran.stdout
