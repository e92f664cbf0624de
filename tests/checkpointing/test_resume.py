"""Exact resume: a run that resumes from any step's checkpoint equals the uninterrupted run, bit for bit."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from support.comparing import assert_same_run
from support.forking import fork_runs
from support.resumed_run import NO_MORE_CHECKPOINTS, RUN
from support.toy_run import run_toy

VARIANTS = {
    "forks": {},
    "joint_phase": {"joint_fraction": 0.3, "max_phase_steps": 3},
    "reset": {"phase_optimizer_state": "reset", "max_phase_steps": 2},
    "loss_weights_skip": {
        "weight_applies_to": "loss",
        "min_task_weight": 0.0,
        "alpha_learning_rate": 6.0,
        "alpha_steps": 12,
    },
    "bfloat16": {
        "delta_dtype": "bfloat16",
        "delta_device": "cpu",
        "optimizer_state_dtype": "bfloat16",
        "optimizer_state_device": "cpu",
        "max_phase_steps": 2,
    },
    "sgd_momentum": {"optim": "sgd", "optim_args": "momentum=0.9", "max_phase_steps": 2},
    "deferred_evaluation": {"eval_strategy": "steps", "eval_steps": 4, "max_phase_steps": 3},
    "pruned": {
        "data_seed": 3,
        "num_train_epochs": 3,
        "min_task_weight": 0.5,
        "max_task_weight": 2.0,
        "weight_average": 0.3,
        "prune_below": 0.95,
        "prune_patience": 2,
        "joint_fraction": 0.3,
        "alpha_learning_rate": 0.5,
        "max_phase_steps": 2,
    },
    "chosen": {"max_auxiliaries_per_epoch": 1, "num_train_epochs": 4, "joint_fraction": 0.3, "max_phase_steps": 2},
    "layers": {"alpha_granularity": "layer", "alpha_l1": 0.001, "alpha_l2": 0.01, "max_phase_steps": 2},
    "guarded": {
        "alpha_min": 0.9,
        "alpha_max": 1.1,
        "max_weight_change": 0.05,
        "min_target_weight": 0.9,
        "normalize_task_weights": "auxiliaries",
        "task_weights": {"b": 2.0},
        "alpha_acceptance": "held_out",
        "max_phase_steps": 2,
    },
    "lbfgs_on_entropy": {"alpha_optimizer": "lbfgs", "alpha_objective": "entropy", "max_phase_steps": 1},
    "gradient_free": {
        "alpha_optimizer": "gradient_free",
        "alpha_objective": "metric",
        "metric_for_best_model": "accuracy",
        "max_phase_steps": 1,
    },
    "secant": {"alpha_optimizer": "secant", "max_phase_steps": 1},
    "multitask": {"method": "multitask", "max_phase_steps": 2},
    "single": {"method": "single"},
}


def checkpoints(folder):
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert found
    return found


def three_of(found):
    """The first checkpoint, one in the middle of the run, and the last with a step left."""
    return [found[0], found[len(found) // 2], found[-2]]


def every(found):
    return found


@pytest.mark.parametrize(
    ("variant", "chosen"),
    [
        *((variant, three_of) for variant in VARIANTS),
        pytest.param("joint_phase", every, marks=pytest.mark.slow),  # has forks too
    ],
)
def test_resume(variant, chosen, tmp_path):
    settings = RUN | VARIANTS[variant]
    whole = run_toy(tmp_path / "whole", **settings)
    found = checkpoints(tmp_path / "whole")
    for checkpoint in chosen(found):
        resumed = run_toy(
            tmp_path / "resumed", resume_from_checkpoint=str(checkpoint), **settings | NO_MORE_CHECKPOINTS
        )
        assert_same_run(whole, resumed)
        if checkpoint != found[-1]:  # Trainer reads no generators where no step is left
            assert torch.equal(whole["torch_rng"], resumed["torch_rng"])
    shutil.rmtree(tmp_path / "whole")


def test_the_variants_reach_every_kind_of_phase(tmp_path):
    """A plan with a skipped task is shorter, and the noisy toy depends on its random generators."""
    skipping = run_toy(tmp_path / "skip", **RUN | VARIANTS["loss_weights_skip"] | {"save_strategy": "no"})
    assert 0.0 in skipping["history"][0]["task_weights"].values()
    pruned = run_toy(tmp_path / "prune", **RUN | VARIANTS["pruned"] | {"save_strategy": "no"})
    assert [bool(entry["pruned"]) for entry in pruned["history"]] == [False, True, False]
    one = run_toy(tmp_path / "1", **RUN | {"save_strategy": "no"})
    other = run_toy(tmp_path / "2", **RUN | {"save_strategy": "no", "seed": 1, "data_seed": 42})
    assert not torch.equal(one["state"]["encoder.0.weight"], other["state"]["encoder.0.weight"])


def test_resume_with_workers(tmp_path):
    settings = RUN | {"dataloader_num_workers": 2, "max_phase_steps": 2}
    whole = run_toy(tmp_path / "whole", **settings)
    without_workers = run_toy(tmp_path / "none", **settings | {"dataloader_num_workers": 0, "save_strategy": "no"})
    assert_same_run(whole, without_workers)
    for checkpoint in three_of(checkpoints(tmp_path / "whole"))[1:]:
        resumed = run_toy(
            tmp_path / "resumed", resume_from_checkpoint=str(checkpoint), **settings | NO_MORE_CHECKPOINTS
        )
        assert_same_run(whole, resumed)


def test_every_checkpoint_is_a_merged_model(tmp_path):
    """`model.safetensors` holds the last merged parameters, whatever the phase in which it was written."""
    settings = RUN | {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 8}
    run = run_toy(tmp_path, **settings)
    steps_per_plan = len(checkpoints(tmp_path)) // 2
    for checkpoint in checkpoints(tmp_path):
        model = load_file(checkpoint / "model.safetensors")
        step = int(checkpoint.name.split("-")[1])
        plan = step // steps_per_plan
        expected = run["epochs"][plan]["theta0"] if plan < 2 else run["epochs"][1]["theta"]
        for name, tensor in expected.items():
            assert torch.equal(tensor, model[name]), (checkpoint.name, name)


# In steps 1, 3 and 8 a joint phase, a fork, and a fork of the second plan are open.
@pytest.mark.distributed
@pytest.mark.parametrize(
    ("config", "workers", "steps"),
    [
        ("ddp", 0, (1, 8)),
        ("fsdp2", 0, (3,)),
        pytest.param("ddp", 2, (1, 3, 8), marks=pytest.mark.slow),
        pytest.param("ddp", 0, (2, 3, 4, 5, 6, 7, 9, 10), marks=pytest.mark.slow),
        pytest.param("fsdp2", 0, (1, 8), marks=pytest.mark.slow),
    ],
)
def test_resume_on_two_processes(config, workers, steps, tmp_path):
    settings = RUN | {
        "per_device_train_batch_size": 2,
        "max_phase_steps": 2,
        "joint_fraction": 0.3,
        "dataloader_num_workers": workers,
    }
    num_steps = 2 * (2 + 1 + 1 + 1)  # joint, and three forks shortened from 2 to 1
    whole = {"output_dir": str(tmp_path / "whole"), **settings}
    resumed = [
        {
            "output_dir": str(tmp_path / "resumed"),
            "resume_from_checkpoint": str(tmp_path / "whole" / f"checkpoint-{step}"),
            **settings,
            **NO_MORE_CHECKPOINTS,
        }
        for step in steps
    ]
    results = fork_runs(run_toy, [whole, *resumed], config, 2)
    assert len(checkpoints(tmp_path / "whole")) == num_steps
    for result in results:
        assert result["rank_checksum"][0] == result["rank_checksum"][1]
        assert_same_run(results[0], result)
