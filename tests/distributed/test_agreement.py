"""Ranks that disagree are refused before the first step, on all of them, by the name of what differs."""

import pytest

from support.disagreeing_run import (
    BEST,
    CHANGES,
    DISKS,
    EQUAL,
    SETTINGS,
    SHARDED,
    disagreeing_run,
    relabelled_run,
    run_of_few_rows,
    run_on_own_disks,
    unsteady_run,
)
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
    "half as precise": "parameters, number 1 is 'encoder.0.weight float64 [8, 6]' on rank 0 and",
    "a row that cannot be read": "training rows of b is '50 rows (content",
    "early stopping": "callbacks with a state",
    "more patience": "callbacks with a state",
    "options of a method": "method_kwargs is {'c': 0.5",
    "own optimizer": "learning rates, number 1 is 0.1 on rank 0 and 0.3 on rank 1",
    "class of optimizer": "optimizer is 'SGD' on rank 0 and 'Adam' on rank 1",
    "loss function": "compute_loss_func is None on rank 0 and 'support.disagreeing_run.tripled' on rank 1",
    "collator": "collator of a is 'transformers.data.data_collator.default_data_collator' on rank 0 and",
    "metrics": "metrics of a is 'support.toy_run.accuracy' on rank 0 and",
    "tokenizer": "on the left, truncation",
    "evaluated task": "the task to evaluate is 'a' on rank 0 and 'b' on rank 1",
    "predicted rows": "the number of its rows is 40 on rank 0 and 39 on rank 1",
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
        assert max(seconds) < 60, "as long as `ddp_timeout`, 90 s: the ranks waited for each other"


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


def test_initial_weights_that_differ_are_refused_under_fsdp2(tmp_path):
    """DDP sends rank 0's to all ranks; FSDP2 would make one model of shards of different ones."""
    runs = [{"output_dir": tmp_path / case, "case": case} for case in SHARDED]
    names = ("heads.b.weight", "encoder.4.running_mean")
    for name, (errors, _, _) in zip(names, fork_runs(disagreeing_run, runs, "fsdp2", 2), strict=True):
        assert len(set(errors)) == 1
        assert "the ranks of this run disagree" in str(errors[0])
        assert f"{name} is " in errors[0]


def test_labels_in_another_order(tmp_path):
    (errors,) = fork_runs(relabelled_run, [{"output_dir": tmp_path}], "ddp", 2)
    assert len(set(errors)) == 1
    assert "head of rte is " in errors[0]


def test_ranks_with_disks_of_their_own(tmp_path):
    """Rank 1 would write its part of a checkpoint to another folder, and keep its last model instead of the best."""
    runs = [{"output_dir": tmp_path / case, "case": case} for case in DISKS]
    results = dict(zip(DISKS, fork_runs(run_on_own_disks, runs, "ddp", 2), strict=True))
    for case, (first, second) in results.items():
        expected = "rank 1 has no folder " if case == "resume" else "rank 1 does not see "
        assert first == second, case
        assert first.startswith(expected), case


def test_ranks_whose_metrics_are_random_stay_together(tmp_path):
    """They stop early, lower the learning rate, choose the best model and fit α by the metrics of rank 0."""
    runs = [
        BEST | {"save_strategy": "best", "num_train_epochs": 3, "patience": 1},
        BEST | {"lr_scheduler_type": "reduce_lr_on_plateau", "method": "multitask"}
        | {"lr_scheduler_kwargs": {"patience": 0}},
        {"alpha_objective": "metric", "alpha_optimizer": "gradient_free"},
    ]  # fmt: skip
    runs = [{"output_dir": tmp_path / str(i), **run} for i, run in enumerate(runs)]
    for first, second in fork_runs(unsteady_run, runs, "ddp", 2):
        assert first == second


def test_fewer_rows_than_processes(tmp_path):
    """One row to train on, and uneven last batches of predictions."""
    settings = {"num_train_epochs": 1, "per_device_eval_batch_size": 2}
    one = run_of_few_rows(tmp_path / "one", **settings)
    half = settings | {"per_device_train_batch_size": 4}
    (two,) = fork_runs(run_of_few_rows, [{"output_dir": tmp_path / "two", **half}], "ddp", 2)
    for mine, theirs in zip(two, one, strict=True):
        assert mine[0] == pytest.approx(theirs[0], abs=1e-12)
        assert (mine[1] == theirs[1]).all()
        assert mine[2] == theirs[2]
