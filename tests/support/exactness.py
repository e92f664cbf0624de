"""Settings of αVIL and of the straight-line reference for the same runs, and the comparison of their results."""

from functools import cache

import pytest
import torch

from reference.straight_line import straight_line_avil
from support.toy_run import TARGET, toy_data, toy_lengths, toy_model

TOLERANCE = 1e-6


# Trainer settings beyond toy_run's defaults, and what the reference calls the same thing.
BATCH = {"per_device_train_batch_size": 8}


CASES = {
    "loss": ({}, {}),
    "learning_rate": (
        {"weight_applies_to": "learning_rate"},
        {"weight_applies_to": "learning_rate", "normalize_task_weights": "all"},
    ),
    "share": ({"delta_fraction": 0.6}, {"delta_fraction": 0.6}),
    "share_learning_rate": (
        {"delta_fraction": 0.6, "weight_applies_to": "learning_rate"},
        {"delta_fraction": 0.6, "weight_applies_to": "learning_rate", "normalize_task_weights": "all"},
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
        {"max_grad_norm": 0.1, "weight_applies_to": "learning_rate", "normalize_task_weights": "all"},
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
    "meta_passes": ({"per_device_meta_batch_size": 15}, {}),
    # On two processes with micro-batches of 4 rows: 5 rows in two of them, and 4 in one.
    "uneven_meta_batches": ({"alpha_batch_size": 9}, {"alpha_batch_size": 9}),
    "encoder_only": ({"alpha_applies_to": "encoder"}, {"alpha_applies_to": "encoder"}),
    "bounds": (
        {"min_task_weight": 0.9, "max_task_weight": 1.1, "normalize_task_weights": "all"},
        {"min_task_weight": 0.9, "max_task_weight": 1.1, "normalize_task_weights": "all"},
    ),
    "skipped_task": (
        {"min_task_weight": 0.0, "alpha_learning_rate": 2.0, "optim_args": "momentum=0.9"},
        {"min_task_weight": 0.0, "alpha_learning_rate": 2.0, "momentum": 0.9},
    ),
    "similar_lengths": ({"length_grouping": "on"}, {"lengths": True}),
    "similar_lengths_joint": (
        {"length_grouping": "on", "joint_fraction": 0.4, "delta_fraction": 0.6},
        {"lengths": True, "joint_fraction": 0.4, "delta_fraction": 0.6},
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


@cache
def reference(**settings):
    train, meta = toy_data()
    if settings.get("lengths"):
        settings["lengths"] = toy_lengths(train)
    defaults = {
        "epochs": 3,
        "learning_rate": 0.1,
        "per_step_rows": 8,
        "min_task_weight": 0.1,
        "normalize_task_weights": "none",
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
