"""αVIL is exact: every δ, α, w and θ equals an independent straight-line reference (tests/reference) to 1e-6."""

import pytest
import torch

from support.exactness import BATCH, CASES, assert_equals_reference, reference
from support.forking import fork_runs
from support.toy_run import LABELS, SIZES, run_toy

SEVERAL_PROCESS_CASES = {
    ("ddp", 2): (
        "accumulation", "clipping_learning_rate_accumulation", "uneven_meta_batches", "similar_lengths_joint",
        "skipped_task",
    ),
    # Two meta rows leave two ranks without any.
    ("ddp", 4): ("few_meta_rows",),
    ("fsdp2", 2): ("clipping_learning_rate_accumulation", "skipped_task"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_straight_line_reference(case, tmp_path):
    settings, rules = CASES[case]
    assert_equals_reference(run_toy(tmp_path, **settings), reference(**rules))


def test_the_cases_are_not_trivial(tmp_path):
    """α moved, tasks differ, a task was skipped where one should be: equality above compares something."""
    plain = reference()
    assert max(abs(a - 1) for a in plain[-1]["alpha"].values()) > 0.05
    assert len({round(a, 4) for a in plain[-1]["alpha"].values()}) == len(SIZES)
    skipped = reference(**CASES["skipped_task"][1])
    assert any(0.0 in record["task_weights_used"].values() for record in skipped)
    clipped = reference(max_grad_norm=0.1)
    assert (
        clipped[0]["delta"]["b"]["encoder.0.weight"].norm() < 0.5 * plain[0]["delta"]["b"]["encoder.0.weight"].norm()
    )


def test_diverged_alpha_falls_back(tmp_path, caplog):
    # Bounded weights keep the run from being chaotic, which would blow the last bit up.
    diverging = {"alpha_learning_rate": 200.0, "min_task_weight": 0.5, "max_task_weight": 1.5}
    records = reference(**diverging)
    assert any(record["fallback"] for record in records)
    assert_equals_reference(run_toy(tmp_path, **diverging), records)
    assert "falls back to its start" in caplog.text


@pytest.mark.parametrize("settings", [{}, {"joint_fraction": 0.4}], ids=["forks", "joint"])
def test_order_of_tasks_changes_nothing(settings, tmp_path):
    one = run_toy(tmp_path / "1", order=["a", "b", "c"], **settings)
    other = run_toy(tmp_path / "2", order=["c", "a", "b"], **settings)
    for mine, theirs in zip(one["epochs"], other["epochs"], strict=True):
        for task in LABELS:
            assert all(torch.equal(mine["delta"][task][k], theirs["delta"][task][k]) for k in mine["delta"][task])
    for name, tensor in one["state"].items():
        assert torch.equal(tensor, other["state"][name]), name
    for mine, theirs in zip(one["history"], other["history"], strict=True):
        assert {**mine, "alpha": None} == {**theirs, "alpha": None}
        assert mine["alpha"] == theirs["alpha"]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("config", "num_processes"), [("ddp", 2), pytest.param("ddp", 4, marks=pytest.mark.slow), ("fsdp2", 2)]
)
def test_several_processes_equal_the_reference(config, num_processes, tmp_path):
    """World n with an n-th of the per-device batch is the same run: the same global batches, α and parameters."""
    runs, records = [], []
    for case in SEVERAL_PROCESS_CASES[config, num_processes]:
        settings, rules = CASES[case]
        settings = BATCH | settings
        share = {"per_device_train_batch_size": settings["per_device_train_batch_size"] // num_processes}
        runs.append({"output_dir": str(tmp_path / case), **settings, **share, "num_train_epochs": 2})
        records.append(reference(epochs=2, **rules))
        assert case != "skipped_task" or 0.0 in records[-1][1]["task_weights_used"].values()
    results = fork_runs(run_toy, runs, config, num_processes)
    for run, expected in zip(results, records, strict=True):
        assert_equals_reference(run, expected)
        assert len(run["rank_checksum"]) == num_processes
        assert len(set(run["rank_checksum"])) == 1
        assert run["sharded"] == (set(run["state"]) if config == "fsdp2" else set())
