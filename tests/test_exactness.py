"""αVIL is exact: every δ, α, w and θ equals an independent straight-line reference (tests/reference) to 1e-6."""

import pytest
import torch
from launching import launch_runs
from straight_line import straight_line_avil
from toy_run import LABELS, SIZES, TARGET, run_toy, toy_data, toy_model

TOLERANCE = 1e-6

# Trainer settings beyond toy_run's defaults, and what the reference calls the same thing.
BATCH = {"per_device_train_batch_size": 8}
CASES = {
    "loss": ({}, {}),
    "learning_rate": (
        {"weight_applies_to": "learning_rate"},
        {"weight_applies_to": "learning_rate", "normalize_task_weights": True},
    ),
    "share": ({"delta_fraction": 0.6}, {"delta_fraction": 0.6}),
    "share_learning_rate": (
        {"delta_fraction": 0.6, "weight_applies_to": "learning_rate"},
        {"delta_fraction": 0.6, "weight_applies_to": "learning_rate", "normalize_task_weights": True},
    ),
    "accumulation": ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, {}),
    "clipping": ({"max_grad_norm": 0.1}, {"max_grad_norm": 0.1}),
    "clipping_learning_rate_accumulation": (
        {
            "max_grad_norm": 0.1,
            "weight_applies_to": "learning_rate",
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
        },
        {"max_grad_norm": 0.1, "weight_applies_to": "learning_rate", "normalize_task_weights": True},
    ),
    "constant_schedule": ({"lr_scheduler_type": "constant"}, {"lr_schedule": "constant"}),
    "warmup": ({"warmup_steps": 7}, {"warmup_steps": 7}),
    "momentum_per_task": (
        {"optim_args": "momentum=0.9", "weight_decay": 0.0},
        {"momentum": 0.9, "phase_optimizer_state": "per_task"},
    ),
    "momentum_reset": (
        {"optim_args": "momentum=0.9", "phase_optimizer_state": "reset"},
        {"momentum": 0.9, "phase_optimizer_state": "reset"},
    ),
    "adam_alpha": ({"alpha_optimizer": "adam"}, {"alpha_optimizer": "adam"}),
    "mean_start": ({"alpha_init": "mean"}, {"alpha_init": "mean"}),
    "meta_batches": ({"alpha_batch_size": 16}, {"alpha_batch_size": 16}),
    "few_meta_rows": ({"alpha_batch_size": 2}, {"alpha_batch_size": 2}),
    # On two processes with micro-batches of 4 rows: 5 rows in two of them, and 4 in one.
    "uneven_meta_batches": ({"alpha_batch_size": 9}, {"alpha_batch_size": 9}),
    "encoder_only": ({"alpha_applies_to": "encoder"}, {"alpha_applies_to": "encoder"}),
    "bounds": (
        {"min_task_weight": 0.9, "max_task_weight": 1.1, "normalize_task_weights": True},
        {"min_task_weight": 0.9, "max_task_weight": 1.1, "normalize_task_weights": True},
    ),
    "skipped_task": (
        {"min_task_weight": 0.0, "alpha_learning_rate": 2.0, "optim_args": "momentum=0.9"},
        {"min_task_weight": 0.0, "alpha_learning_rate": 2.0, "momentum": 0.9},
    ),
    "max_phase_steps": ({"max_phase_steps": 3}, {"max_phase_steps": 3}),
    "joint": (
        {"joint_fraction": 0.4, "optim_args": "momentum=0.9"},
        {"joint_fraction": 0.4, "momentum": 0.9},
    ),
    "joint_by_weights": (
        {"joint_fraction": 0.3, "task_sampling": "weights"},
        {"joint_fraction": 0.3, "task_sampling": "weights"},
    ),
    "joint_by_temperature": (
        {"joint_fraction": 0.3, "task_sampling": "temperature", "sampling_temperature": 3.0},
        {"joint_fraction": 0.3, "task_sampling": "temperature", "sampling_temperature": 3.0},
    ),
}


SEVERAL_PROCESS_CASES = {
    ("ddp", 2): (
        "loss", "share_learning_rate", "accumulation", "clipping", "uneven_meta_batches", "joint", "skipped_task",
    ),
    # Two meta rows leave two ranks without any.
    ("ddp", 4): ("share_learning_rate", "few_meta_rows", "joint"),
    ("fsdp2", 2): ("clipping_learning_rate_accumulation", "uneven_meta_batches", "skipped_task"),
}  # fmt: skip


def reference(**settings):
    train, meta = toy_data()
    defaults = {
        "epochs": 3,
        "learning_rate": 0.1,
        "per_step_rows": 8,
        "min_task_weight": 0.1,
        "normalize_task_weights": False,
        "alpha_steps": 5,
        "alpha_learning_rate": 0.1,
        "alpha_batch_size": 64,
        "lr_schedule": "linear",
        "data_seed": 42,
    }
    return straight_line_avil(toy_model(), train, meta, TARGET, **(defaults | settings))


def assert_same_tensors(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=TOLERANCE)


def assert_equals_reference(run, records):
    assert len(run["history"]) == len(run["epochs"]) == len(records)
    for entry, tensors, record in zip(run["history"], run["epochs"], records, strict=True):
        for key in ("alpha", "task_weights", "task_weights_used"):
            assert entry[key] == pytest.approx(record[key], abs=TOLERANCE), key
        meta = entry["meta_entropy"] if "meta_entropy" in entry else entry["meta_loss"]
        assert meta == pytest.approx(record["meta_loss"], rel=TOLERANCE)
        for task, by_layer in entry.get("alpha_by_layer", {}).items():
            assert by_layer == pytest.approx(record["alpha_by_layer"][task], abs=TOLERANCE), task
        assert entry.get("pruned", []) == record["pruned"]
        assert entry["alpha_diverged"] == record["fallback"]
        assert_same_tensors(tensors["theta0"], record["theta0"])
        assert_same_tensors(tensors["theta"], record["theta"])
        for task, delta in record["delta"].items():
            # A skipped phase leaves no delta; the reference says zero.
            mine = tensors["delta"].get(task) or {name: torch.zeros_like(value) for name, value in delta.items()}
            assert_same_tensors(mine, delta)


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


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("config", "num_processes"), [("ddp", 2), ("ddp", 4), ("fsdp2", 2)])
def test_several_processes_equal_the_reference(config, num_processes, tmp_path):
    """World n with an n-th of the per-device batch is the same run: the same global batches, α and parameters."""
    runs, rules = [], []
    for case in SEVERAL_PROCESS_CASES[config, num_processes]:
        settings, rule = CASES[case]
        settings = BATCH | settings
        share = {"per_device_train_batch_size": settings["per_device_train_batch_size"] // num_processes}
        runs.append({"output_dir": str(tmp_path / case), **settings, **share})
        rules.append(rule)
    results = launch_runs("toy_run.py", runs, tmp_path, num_processes, config)
    for run, rule in zip(results, rules, strict=True):
        assert_equals_reference(run, reference(**rule))
        assert len(run["rank_checksum"]) == num_processes
        assert len(set(run["rank_checksum"])) == 1
        assert run["sharded"] == (set(run["state"]) if config == "fsdp2" else set())
