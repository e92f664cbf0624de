"""The measurements as a whole: what the scripts for a GPU execute, with the least work and on the CPU."""

import json
import math
import os
import shlex
import subprocess

import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

import bench
import hf_alphavil
import low_resource
from bench_parts import PARTS, Row
from low_resource_data import TASKS
from support.driving import call_main_with_forks
from support.forking import ROOT, fork
from workload import pack


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
    load_tasks = hf_alphavil.load_tasks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hf_alphavil,
            "load_tasks",
            lambda *args, **kwargs: {name: task.select(40, 300) for name, task in load_tasks(*args, **kwargs).items()},
        )
        pack(str(data_dir), str(folder / "source"), folder / "packed", TASKS)
    return folder / "packed"


def commands_of(folder, script, *arguments, **variables):
    """The arguments with which a shell script of the benchmarks starts Python, in its order."""
    recorder, commands = folder / "recorder", folder / "commands"
    recorder.write_text(f'#!/usr/bin/env bash\necho "${{@@Q}}" >> {shlex.quote(str(commands))}\n')
    recorder.chmod(0o755)
    ran = subprocess.run(
        [str(ROOT / "benchmarks" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHON": str(recorder)} | variables,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [shlex.split(line) for line in commands.read_text().splitlines()]


def run_tests(arguments):
    assert pytest.main([*arguments, "-k", "test_device"]) == 0


@pytest.mark.slow
def test_gpu_check_runs_on_a_cpu(tiny_workload, tmp_path):
    out = tmp_path / "out"
    commands = commands_of(
        tmp_path, "gpu_check.sh", tiny_workload, out, "--device", "cpu", "--tiny", SECONDS_IN_ALL="2000"
    )
    tests = next(command for command in commands if command[:2] == ["-m", "pytest"])
    commands.remove(tests)
    # On a CPU, the suite itself runs the other tests of exactness.
    ran = fork(run_tests, tests[2:])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    for script, *arguments in commands:
        assert script == "benchmarks/bench.py"
        if "--parts" in arguments:
            ran = fork(call_main_with_forks, bench.main, script, arguments)
            assert ran.returncode == 0, ran.stdout + ran.stderr
    # The last command makes the report of all parts. `startup` is none of the script's, because a GPU has no part in
    # it.
    ran = fork(call_main_with_forks, bench.main, script, arguments)
    report = json.loads((out / "bench.json").read_text())
    assert set(report["seconds"]) == {name for name, part in PARTS.items() if "cpu" in part.devices}
    assert {path.stem for path in out.glob("*.json")} == {*report["seconds"], "bench"} - {"startup"}
    assert all(math.isfinite(row["measured"]) for row in report["rows"])


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
def test_gpu_study_runs_on_a_cpu(tiny_workload, tmp_path):
    preset, out = tmp_path / "tiny.yaml", tmp_path / "out"
    preset.write_text(STUDY)
    ((script, *arguments),) = commands_of(
        tmp_path, "gpu_study.sh", tiny_workload, out, preset, "--device", "cpu", JOBS="1", MINUTES="9"
    )
    assert script == "benchmarks/low_resource.py"
    ran = fork(call_main_with_forks, low_resource.main, script, arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = map(json.loads, (out / "tiny.jsonl").read_text().splitlines())
    assert [result["name"] for result in results] == ["multitask", "alphavil"]
    assert "| rte | 24 | mixed |" in ran.stdout
