"""Low-resource problems: who may see which rows, and what the study runs and skips."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from low_resource import id_of, main, specs_of, summary
from low_resource_data import AUXILIARY_ROWS, TASKS, TEST_ROWS, make_problem
from workload import Workload

PRESETS = Path(__file__).parents[2] / "benchmarks" / "presets"


def row(task, number):
    label = number % 6 if task == "stsb" else number % 2
    return {"input_ids": [TASKS.index(task), number], "attention_mask": [1, 1], "labels": label}


@pytest.fixture(scope="module")
def workload():
    rows = {task: [row(task, number) for number in range(3000)] for task in TASKS}
    validation = {task: [row(task, number) for number in range(3000, 3100)] for task in TASKS}
    return Workload(Path(), {task: {"kind": task} for task in TASKS}, rows, validation)


def ids(rows):
    return [tuple(each["input_ids"]) for each in rows]


@pytest.mark.parametrize("suite", ["natural", "mixed", "hostile"])
@pytest.mark.parametrize("target", ["rte", "stsb", "cola"])
def test_no_test_row_is_trained_on(target, suite, workload):
    problem = make_problem(workload, target, suite, 200, seed=3)
    assert next(iter(problem.train)) == target
    assert list(problem.heads) == list(problem.train)
    assert len(problem.train[target]) == 200
    assert len(problem.test) == TEST_ROWS
    trained = [each for rows in problem.train.values() for each in ids(rows)]
    assert not set(ids(problem.test)) & set(trained)
    assert len(set(ids(problem.test))) == TEST_ROWS


def test_suites_share_test_sets_and_seeds_change_them(workload):
    first, again, other = (make_problem(workload, "rte", "mixed", 200, seed) for seed in (0, 0, 1))
    assert first == again
    assert ids(first.train["rte"]) != ids(other.train["rte"])


def test_more_is_the_targets_own_task_with_its_own_labels(workload):
    problem = make_problem(workload, "stsb", "mixed", 200, seed=0)
    more = problem.train["more"]
    assert len(more) == AUXILIARY_ROWS
    assert {each["input_ids"][0] for each in more} == {TASKS.index("stsb")}
    assert not set(ids(more)) & set(ids(problem.train["stsb"]))
    assert all(each["labels"] == pytest.approx(each["input_ids"][1] % 6 / 5) for each in more)


def test_shuffled_labels_are_a_permutation(workload):
    shuffled = make_problem(workload, "rte", "mixed", 200, seed=0).train["shuffled"]
    true = [number % 2 for _, number in ids(shuffled)]
    given = [each["labels"] for each in shuffled]
    assert sorted(true) == sorted(given)
    agreement = sum(a == b for a, b in zip(true, given, strict=True)) / len(true)
    assert 0.4 < agreement < 0.6


@pytest.mark.parametrize("preset", sorted((PRESETS / "low_resource").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_define_distinct_runs(preset):
    specs = list(specs_of(yaml.safe_load(preset.read_text())))
    assert len({id_of(spec) for spec in specs}) == len(specs) > 0
    assert [spec["seed"] for spec in specs] == sorted(spec["seed"] for spec in specs)


def test_finished_runs_are_not_repeated(tmp_path, monkeypatch, capsys):
    preset = {"targets": ["rte"], "suites": ["mixed"], "rows": {"rte": 9}, "seeds": [0, 1], "settings": {"seed": 0}}
    preset["methods"] = {"one": {"method": "multitask"}, "two": {"method": "single"}}
    (tmp_path / "preset.yaml").write_text(yaml.safe_dump(preset))
    specs = list(specs_of(preset))
    results = [{**spec, "id": id_of(spec), "score": 0.5 + number / 10} for number, spec in enumerate(specs)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    command = ["low_resource.py", tmp_path / "preset.yaml", "--workload", tmp_path, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*map(str, command), "--output", str(tmp_path / "results.jsonl")])
    assert main() == 0  # there is no workload to train on
    printed = capsys.readouterr()
    assert "0 runs left, 0 failed" in printed.err
    assert summary(results) in printed.out
    assert "| one | 60.0 (2) |" in printed.out
