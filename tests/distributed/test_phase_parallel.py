"""Task-parallel phases: in parallel they give the same run as one after another; unsupported settings are refused."""

import signal
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.distributed.phase_groups import PhaseGroups, count_groups
from hf_alphavil.methods import METHODS
from support.comparing import assert_same_run, comparable
from support.exactness import CASES, assert_equals_reference, reference
from support.faults import diverging_run, interrupted_run, sharing_without_a_delta
from support.forking import fork, fork_runs
from support.resumed_run import NO_MORE_CHECKPOINTS
from support.toy_run import NOISY_RUN, run_toy, toy_args, toy_trainer

RUN = NOISY_RUN | {"num_train_epochs": 3, "warmup_steps": 4}
PARALLEL = {"phase_parallel": "on"}
# A micro-batch holds the rows of an α step, so that no gradient is summed over ranks.
ONE_MICRO_BATCH = {"alpha_batch_size": RUN["per_device_train_batch_size"]}
VARIANTS = {
    "forks": {},
    "skips": {"weight_applies_to": "loss", "min_task_weight": 0.0, "alpha_learning_rate": 6.0, "alpha_steps": 12},
    "evaluates": {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "phase_lengths": "equal",
    },
}
SLOW_VARIANTS = {
    "reset": {
        "phase_optimizer_state": "reset",
        "delta_fraction": 0.6,
        "alpha_optimizer": "adam",
        "delta_dtype": "bfloat16",
    },
    "workers": {"dataloader_num_workers": 2, "max_phase_steps": 3},
}


def losses(run):
    return [entry for entry in map(comparable, run["log_history"]) if any(key.startswith("loss_") for key in entry)]


@pytest.mark.distributed
@pytest.mark.parametrize("variants", [VARIANTS, pytest.param(SLOW_VARIANTS, marks=pytest.mark.slow)], ids=", ".join)
def test_two_processes_equal_one_to_the_last_bit(variants, tmp_path):
    variants = {name: {"num_train_epochs": 2, **ONE_MICRO_BATCH} | more for name, more in variants.items()}
    runs = [{"output_dir": str(tmp_path / name), **RUN, **more, **PARALLEL} for name, more in variants.items()]
    for (name, more), run in zip(variants.items(), fork_runs(run_toy, runs, "ddp", 2), strict=True):
        whole = run_toy(tmp_path / "one" / name, **RUN | more)
        assert len(set(run["rank_checksum"])) == 1, name
        assert run["history"] == whole["history"], name
        assert run["counted"]["best_metric"] == whole["counted"]["best_metric"]
        for mine, theirs in zip(run["epochs"], whole["epochs"], strict=True):
            assert mine["delta"].keys() == theirs["delta"].keys()
            for task, delta in theirs["delta"].items():
                assert all(torch.equal(mine["delta"][task][key], delta[key]) for key in delta), (name, task)
        for key, tensor in whole["state"].items():
            assert torch.equal(run["state"][key], tensor), (name, key)
        # They are logged where a phase ends in the one, and where the plan ends in the other.
        for mine, theirs in zip(losses(run), losses(whole), strict=True):
            assert {**mine, "epoch": 0, "step": 0} == {**theirs, "epoch": 0, "step": 0}
        # Side by side they are fewer steps: b beside a and c.
        assert run["counted"]["global_step"] < whole["counted"]["global_step"]
        if name == "skips":
            assert 0.0 in whole["history"][0]["task_weights"].values()


@pytest.mark.distributed
def test_sums_over_ranks_differ_by_rounding_only(tmp_path):
    """Three micro-batches of an α step on two ranks: α is that of one process to the precision of float32."""
    settings = RUN | {"alpha_batch_size": 10, "num_train_epochs": 2}
    (run,) = fork_runs(run_toy, [{"output_dir": str(tmp_path / "two"), **settings, **PARALLEL}], "ddp", 2)
    whole = run_toy(tmp_path / "one", **settings)
    assert len(set(run["rank_checksum"])) == 1
    for mine, theirs in zip(run["history"], whole["history"], strict=True):
        assert mine["alpha"] == pytest.approx(theirs["alpha"], rel=1e-6)
    for key, tensor in whole["state"].items():
        torch.testing.assert_close(run["state"][key], tensor, rtol=0, atol=1e-6, msg=key)
    first = run["epochs"][0]["delta"], whole["epochs"][0]["delta"]
    for task, delta in first[1].items():
        assert all(torch.equal(first[0][task][key], delta[key]) for key in delta), task


@pytest.mark.distributed
def test_all_processes_learn_that_a_delta_is_missing(tmp_path):
    runs = [{"output_dir": str(tmp_path), "num_train_epochs": 1, "ddp_timeout": 60, **PARALLEL}]
    (errors,) = fork_runs(sharing_without_a_delta, runs, "ddp", 2)
    assert len(errors) == 2
    assert all("cannot share the delta of phase 'b': it has not run the phase" in error for error in errors)


@pytest.mark.distributed
def test_groups_of_processes_equal_the_reference(tmp_path):
    """Four processes form two groups of two. A step of a task has the rows of both processes of its group."""
    cases = ("clipping_learning_rate_accumulation", "few_meta_rows")
    runs = []
    for case in cases:
        settings = {"per_device_train_batch_size": 8} | CASES[case][0]
        half = {"per_device_train_batch_size": settings["per_device_train_batch_size"] // 2}
        runs.append({"output_dir": str(tmp_path / case), **settings, **half, **PARALLEL, "num_train_epochs": 2})
    noisy = {"output_dir": str(tmp_path / "noisy"), **RUN, "per_device_train_batch_size": 2, **PARALLEL}
    noisy["num_train_epochs"] = 2
    *results, run = fork_runs(run_toy, [*runs, noisy], "ddp", 4)
    for case, result in zip(cases, results, strict=True):
        assert_equals_reference(result, reference(epochs=2, **CASES[case][1]))
        assert len(result["rank_checksum"]) == 4
        assert len(set(result["rank_checksum"])) == 1
    # Batch norm sees only a rank's rows, as in data-parallel training on two processes.
    (whole,) = fork_runs(run_toy, [noisy | {"phase_parallel": "off"}], "ddp", 2)
    for key, tensor in whole["state"].items():
        torch.testing.assert_close(run["state"][key], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.distributed
@pytest.mark.parametrize(
    "is_resumed",
    [lambda step: step % 3 == 0, pytest.param(lambda step: step % 3 != 0, marks=pytest.mark.slow)],
    ids=["every third step", "all other steps"],
)
def test_resume(is_resumed, tmp_path):
    """Resumes at steps of both sides of a plan, at the ends of phases and plans, and at every step."""
    settings = {**RUN, **PARALLEL, "num_train_epochs": 2, "logging_strategy": "steps", "logging_steps": 3}
    settings |= {"save_strategy": "steps", "save_steps": 1}
    whole = {"output_dir": str(tmp_path / "whole"), **settings}
    num_steps = 2 * 8  # a and c side by side with b: 5 + 3 steps
    resumed = [
        {
            "output_dir": str(tmp_path / "resumed"),
            "resume_from_checkpoint": str(tmp_path / "whole" / f"checkpoint-{step}"),
            **settings,
            **NO_MORE_CHECKPOINTS,
        }
        for step in filter(is_resumed, range(1, num_steps + 1))
    ]
    results = fork_runs(run_toy, [whole, *resumed], "ddp", 2)
    for result in results:
        assert len(set(result["rank_checksum"])) == 1
        assert_same_run(results[0], result)
    found = {int(path.name.split("-")[1]): path for path in checkpoints(tmp_path / "whole")}
    assert sorted(found) == list(range(1, num_steps + 1))
    for step, folder in found.items():  # each is a merged model
        epochs = results[0]["epochs"]
        expected = epochs[step // 8]["theta0"] if step < num_steps else epochs[1]["theta"]
        for name, tensor in expected.items():
            assert torch.equal(load_file(folder / "model.safetensors")[name], tensor)
    with pytest.raises(ValueError, match=r"written with phase_parallel={'groups': 2, .*this run has {'groups': 1}"):
        run_toy(tmp_path / "other", resume_from_checkpoint=str(found[8]), **{**settings, "phase_parallel": "off"})


@pytest.mark.slow
@pytest.mark.distributed
def test_sigterm_and_a_rank_that_dies(tmp_path):
    """All processes stop at the next step where they agree, here the end of the plan. See test_sigterm.py."""
    settings = RUN | PARALLEL | {"enable_jit_checkpoint": True, "eval_strategy": "epoch"}
    settings |= {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
    stops = {"signalled": (1, 3, signal.SIGTERM), "dying": (1, 5, signal.SIGKILL)}
    ended = {
        name: fork(interrupted_run, tmp_path / name, *stop, settings, config="ddp", num_processes=2)
        for name, stop in stops.items()
    }
    assert ended["signalled"].returncode == 0, ended["signalled"].stderr
    assert ended["dying"].stdout.count("rank 1 dies") == 1
    names = {name: [path.name for path in checkpoints(tmp_path / name)] for name in stops}
    assert names == {"signalled": ["checkpoint-8"], "dying": ["checkpoint-4"]}
    runs = [{"output_dir": str(tmp_path / name), "resume_from_checkpoint": "auto", **settings} for name in stops]
    whole, *resumed = fork_runs(run_toy, [{"output_dir": str(tmp_path / "whole"), **settings}, *runs], "ddp", 2)
    for run in resumed:
        assert_same_run(whole, run)


@pytest.mark.distributed
def test_a_diverged_phase_is_dropped_on_every_rank(tmp_path):
    """Rank 1 trains tasks a and c. A NaN drops one of its phases, and rank 0 learns so when the ranks exchange."""
    settings = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_phase_steps": 9, **PARALLEL}
    run = fork(diverging_run, tmp_path, config="ddp", num_processes=2, **settings)
    results = run.result
    # Step 13 is the sixth of the second epoch's eight, the first of c.
    assert results["dropped"] == [[{}, {"c": 0}, {}], [{}, {"c": 0}, {}]]
    assert results["checksums"][0] == results["checksums"][1]
    assert (run.stdout + run.stderr).count("The loss of task 'c' became NaN or infinite at step 1 of 3") == 1


def accelerator(num_processes=4, is_fsdp2=False, mixed_precision="no"):
    return SimpleNamespace(num_processes=num_processes, is_fsdp2=is_fsdp2, mixed_precision=mixed_precision)


def groups(num_tasks=5, method="alphavil", machine=None, **settings):
    settings = ({"alphavil_preset": "paper"} if method == "alphavil" else {}) | settings
    args = MultitaskTrainingArguments(output_dir="unused", target_task="a", use_cpu=True, method=method, **settings)
    return count_groups(args, METHODS[method].forks_by_task, num_tasks, machine or accelerator())


def test_number_of_groups():
    assert groups() == 1
    assert groups(phase_parallel="on") == 4
    assert groups(num_tasks=3, phase_parallel="on") == 2  # 3 groups of 4 processes cannot be equal
    assert groups(phase_parallel="on", phase_group_size=2) == 2
    assert groups(num_tasks=0) == groups(num_tasks=0, phase_parallel="auto") == 1
    assert groups(phase_parallel="on", machine=accelerator(64)) == 4
    assert groups(phase_parallel="on", machine=accelerator(10)) == 5
    assert groups(num_tasks=7, phase_parallel="on", machine=accelerator(7)) == 7


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"machine": accelerator(1)}, "there is only one process"),
        ({"method": "multitask"}, "method 'multitask' has no independent phases"),
        ({"num_tasks": 1}, "fewer than two tasks"),
        ({"machine": accelerator(7)}, "a group of 7 holds all 7 processes"),
        ({"phase_group_size": 4}, "a group of 4 holds all 4 processes"),
        ({"phase_group_size": 3}, "do not divide into groups of 3"),
        ({"num_tasks": 2, "phase_group_size": 1}, "the 4 processes make 4 groups of 1, more than the 2 tasks"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size"),
        ({"include_num_input_tokens_seen": True}, "include_num_input_tokens_seen"),
        ({"save_on_each_node": True}, "save_on_each_node"),
        ({"joint_fraction": 0.5}, "joint_fraction"),
        ({"joint_fraction": 0.5, "merge_deltas": False}, "joint_fraction"),
        ({"target_phase": "last"}, "target_phase='last' adds a phase after the merge"),
        ({"rounds_per_epoch": 2}, "rounds_per_epoch"),
        ({"max_auxiliaries_per_epoch": 2}, "max_auxiliaries_per_epoch"),
        ({"final_target_epochs": 1}, "final_target_epochs"),
        ({"machine": accelerator(is_fsdp2=True)}, "FSDP2"),
        ({"machine": accelerator(mixed_precision="fp16")}, "bf16"),
    ],
)
def test_unsupported_settings_are_refused(settings, reason):
    with pytest.raises(ValueError, match=f"phase_parallel='on' is not possible: .*{reason}"):
        groups(phase_parallel="on", **settings)
    assert groups(phase_parallel="auto", **settings) == 1


def test_bad_settings():
    with pytest.raises(ValueError, match="phase_group_size=0: pass a positive number"):
        toy_args("unused", phase_group_size=0, phase_parallel="on")
    with pytest.raises(ValueError, match="phase_group_size=2: pass None, or set phase_parallel to 'on' or 'auto'"):
        toy_args("unused", phase_group_size=2)
    with pytest.raises(ValueError, match="phase_parallel='yes': pass one of off, auto, on"):
        toy_args("unused", phase_parallel="yes")


def test_a_phase_stays_with_its_group():
    """It stays even if a plan leaves phases out, because the group holds the phase's optimizer state."""
    sizes = {"a": 5, "b": 7, "c": 3}
    ranks = [PhaseGroups(2, sizes, rank, 4) for rank in range(4)]
    assert [[group.leader_of(task) for task in "abc"] for group in ranks] == [[2, 0, 2]] * 4
    assert [group.is_leader for group in ranks] == [True, False, True, False]


def test_an_idle_step_counts_no_operations(tmp_path):
    trainer = toy_trainer(tmp_path)
    trainer.model.main_input_name, trainer.model.num_parameters = "x", lambda **_: 1
    assert trainer.floating_point_ops({"x": torch.ones(2, 3)}) == 36
    trainer.runner.state.step = trainer.runner.state.num_steps
    assert trainer.floating_point_ops({"x": torch.ones(2, 3)}) == 0


def test_lanes_are_made_once_per_plan(tmp_path):
    state = toy_trainer(tmp_path).runner.state
    state.groups = PhaseGroups(2, state.steps, process_index=1, num_processes=2)
    state.make_plan()
    lanes = state.lanes
    assert state.lanes is lanes
    assert state.lane is lanes[1]
    assert {phase.name for lane in lanes for phase in lane.phases} == {"a", "b", "c"}
    assert state.num_steps == max(lane.num_steps for lane in lanes)
    state.epoch = 1
    assert [lane.epoch for lane in state.lanes] == [1, 1]
