"""Low-resource problems: who may see which rows. Scores of their test sets."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import EvalPrediction

from low_resource_data import AUXILIARIES, TASKS, make_problem, paper_problem
from low_resource_run import matthews_of, score_of
from many_auxiliaries import make_many
from workload import Workload

AUXILIARY_ROWS, TEST_ROWS = 300, 2000


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


def make(workload, target, suite, rows, seed=0):
    return make_problem(workload, target, suite, rows, seed, AUXILIARY_ROWS, TEST_ROWS)


@pytest.mark.parametrize("suite", ["natural", "mixed", "hostile"])
@pytest.mark.parametrize("target", ["rte", "stsb", "cola"])
def test_no_test_row_is_trained_on(target, suite, workload):
    problem = make(workload, target, suite, 200, seed=3)
    assert next(iter(problem.train)) == target
    assert list(problem.heads) == list(problem.train)
    assert len(problem.train[target]) == 200
    assert len(problem.test) == TEST_ROWS
    trained = [each for rows in problem.train.values() for each in ids(rows)]
    assert not set(ids(problem.test)) & set(trained)
    assert len(set(ids(problem.test))) == TEST_ROWS


@pytest.mark.parametrize("suite", AUXILIARIES)
def test_the_auxiliaries_of_a_suite_are_known_by_name(suite, workload):
    assert tuple(make(workload, "rte", suite, 200).train) == ("rte", *AUXILIARIES[suite])


def test_the_seed_alone_decides_the_targets_rows(workload):
    """Suites are compared on equal rows of the target, and sizes on growing ones."""
    first, again, hostile, more = (
        make(workload, "rte", suite, rows)
        for suite, rows in [("mixed", 200), ("mixed", 200), ("hostile", 200), ("mixed", 300)]
    )
    assert first == again
    assert first.test == hostile.test == more.test
    assert first.train["rte"] == hostile.train["rte"] == more.train["rte"][:200]
    assert first.train["shuffled"] == hostile.train["shuffled"]
    other = make(workload, "rte", "mixed", 200, seed=1)
    assert ids(first.train["rte"]) != ids(other.train["rte"])
    assert ids(first.test) != ids(other.test)
    assert ids(first.train["shuffled"]) != ids(other.train["shuffled"])


def test_a_target_with_too_few_rows_is_refused(workload):
    with pytest.raises(ValueError, match=r"rte has 3100 rows, .* pass fewer than 1500 "):
        make(workload, "rte", "mixed", 1500)


def test_more_is_the_targets_own_task_with_its_own_labels(workload):
    problem = make(workload, "stsb", "mixed", 200)
    more = problem.train["more"]
    assert len(more) == AUXILIARY_ROWS
    assert {each["input_ids"][0] for each in more} == {TASKS.index("stsb")}
    assert not set(ids(more)) & set(ids(problem.train["stsb"]))
    assert all(each["labels"] == pytest.approx(each["input_ids"][1] % 6 / 5) for each in more)


def test_shuffled_labels_are_a_permutation(workload):
    shuffled = make(workload, "rte", "mixed", 200).train["shuffled"]
    true = [number % 2 for _, number in ids(shuffled)]
    given = [each["labels"] for each in shuffled]
    assert sorted(true) == sorted(given)
    agreement = sum(a == b for a, b in zip(true, given, strict=True)) / len(true)
    assert 0.4 < agreement < 0.6


def test_two_of_many_auxiliaries_help(workload):
    features = SimpleNamespace(workload=workload, inputs=lambda rows: rows)
    few, many = (make_many(features, "mrpc", count, seed=0) for count in (4, 16))
    assert list(few.train) == ["mrpc", "more_0", "more_1", "shuffled_0", "unrelated_0"]
    assert list(few.heads) == list(few.train)
    assert len(many.train) == 17
    assert all(many.train[name] == rows for name, rows in few.train.items())
    own = [
        row for part in (*(many.train[name] for name in ("mrpc", "more_0", "more_1")), many.test) for row in ids(part)
    ]
    assert len(set(own)) == len(own)
    assert {name for name, rows in many.train.items() if rows[0]["input_ids"][0] == TASKS.index("mrpc")} == set(
        list(few.train)[:3]
    )
    assert ids(many.train["shuffled_0"]) != ids(many.train["shuffled_2"])


def test_a_setup_of_the_paper_has_all_rows(workload):
    problem = paper_problem(workload, "copa")
    assert list(problem.train) == ["copa", "rte", "mrpc", "wnli", "cb"]
    assert all(rows == workload.rows[name] for name, rows in problem.train.items())
    assert problem.test == workload.validation["copa"]
    with pytest.raises(ValueError, match=r"'stsb': the paper's are rte, mrpc, wnli, cb, copa"):
        paper_problem(workload, "stsb")


def test_scores():
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
    assert score_of(EvalPrediction(logits, np.array([0, 1, 1, 1]))) == {"score": 0.75}
    assert score_of(EvalPrediction(np.array([[1.0], [2.0], [9.0]]), np.array([0.1, 0.2, 0.3]))) == {"score": 1.0}
    assert score_of(EvalPrediction(np.ones((3, 1)), np.array([0.1, 0.2, 0.3]))) == {"score": 0.0}
    # One of two negatives and both positives found: (2·1 − 1·0) / √(3·2·2·1)
    assert matthews_of(EvalPrediction(logits, np.array([0, 1, 1, 1])))["score"] == pytest.approx(2 / 12**0.5)
    assert matthews_of(EvalPrediction(np.ones((4, 2)), np.array([0, 1, 1, 1]))) == {"score": 0.0}
