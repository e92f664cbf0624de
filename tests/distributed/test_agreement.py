"""Ranks that disagree are refused before the first step, on all of them, by the name of what differs."""

import pytest

from support.disagreeing_run import CHANGES, EQUAL, SETTINGS, disagreeing_run
from support.forking import fork_runs

pytestmark = pytest.mark.distributed
#: What the message names, if it is not the setting.
NAMES = {
    "output_dir": "output_dir",
    "order of tasks": "tasks in order, number 1 is 'a' on rank 0 and 'b' on rank 1",
    "a task less": "tasks in order, number 3 is 'c' on rank 0 and 'missing' on rank 1",
    "other rows": "training rows of a is '37 rows",
    "a row less": "training rows of b is '50 rows",
    "rows in another order": "training rows of b is '50 rows",
    "fewer validation rows": "rows of the meta set is '40 rows",
    "another width": "parameters, number 1 is 'encoder.0.weight float64 [8, 6]' on rank 0 and",
    "a parameter less": "parameters, number",
    "a frozen head": "(frozen)",
    "dropout": "Dropout",
    "early stopping": "callbacks with a state",
    "resume": "resume_from_checkpoint is None on rank 0 and True on rank 1",
}
QUICK = ["setting learning_rate", "setting num_train_epochs", "setting method", "setting seed", *NAMES]


def check(cases, tmp_path, num_processes=2, rank=1):
    runs = [{"output_dir": tmp_path / str(i), "case": case, "rank": rank} for i, case in enumerate(cases)]
    for case, (errors, _, seconds) in zip(cases, fork_runs(disagreeing_run, runs, "ddp", num_processes), strict=True):
        assert len(set(errors)) == 1, (case, errors)
        assert "the ranks of this run disagree" in str(errors[0]), (case, errors)
        name = NAMES.get(case) or f"{case.removeprefix('setting ')} is "
        assert name.replace("rank 1", f"rank {rank}") in errors[0], (case, errors)
        assert max(seconds) < 15


def test_disagreeing_ranks_are_refused(tmp_path):
    check(QUICK, tmp_path)


@pytest.mark.slow
def test_every_other_difference_is_refused(tmp_path):
    rest = [case for case in CHANGES if case not in QUICK]
    assert len(rest) + 4 == len(SETTINGS)
    check(rest, tmp_path)


@pytest.mark.slow
def test_one_of_three_ranks(tmp_path):
    check(QUICK, tmp_path, num_processes=3, rank=2)


def test_what_need_not_agree_gives_one_model(tmp_path):
    runs = [{"output_dir": tmp_path / str(i), "case": case} for i, case in enumerate(EQUAL)]
    results = dict(zip(EQUAL, fork_runs(disagreeing_run, runs, "ddp", 2), strict=True))
    for case, (errors, checksums, _) in results.items():
        assert errors == (None, None), (case, errors)
        assert checksums == results["nothing"][1], case
