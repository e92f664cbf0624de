"""A run on ready rows needs neither `datasets` nor `evaluate`, and scikit-learn and SciPy only where they compute."""

import pytest

from support.comparing import assert_same_run, comparable
from support.forking import fork
from support.ready_rows_run import run_ready_rows
from support.toy_run import run_toy
from support.without_libraries import run_without

METHODS = ("alphavil", "multitask", "gradnorm")


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    finished = fork(run_without, str(tmp_path_factory.mktemp("without")), METHODS)
    assert finished.returncode == 0, finished.stderr[-4000:]
    return finished.result


def test_the_toy_trains_without_any_of_the_libraries(without, tmp_path):
    assert_same_run(without[0], run_toy(tmp_path))


@pytest.mark.parametrize("method", METHODS)
def test_own_tasks_train_score_and_resume_as_with_the_libraries(without, method, tmp_path):
    run = without[1][method]
    expected = run_ready_rows(tmp_path, method=method)
    assert run["resumed"] == run["history"]
    assert_same_run(run, expected)
    for task, scores in expected["scores"].items():
        assert comparable(run["scores"][task]) == comparable(scores)
    assert (run["predictions"] == expected["predictions"]).all()


def test_loading_by_name_names_the_library(without):
    assert without[2] == "load_tasks needs the package `datasets`: pip install datasets"
