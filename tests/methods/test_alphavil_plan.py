"""αVIL's plans: the target's own phase, rounds, probes and final epochs of the target, against a straight line."""

import shutil
from collections import Counter

import pytest
import torch

from hf_alphavil.data import JOINT_PHASE, TARGET_PHASE, EpochPlan, Phase, PlanBatchSampler
from hf_alphavil.run.batches import plan_rows
from support.comparing import assert_same_run
from support.exactness import TOLERANCE, assert_same_tensors, reference
from support.forking import fork_runs
from support.resumed_run import NO_MORE_CHECKPOINTS, RUN
from support.toy_run import run_toy, toy_trainer

CASES = {
    "last": {"target_phase": "last"},
    "both": {"target_phase": "both", "weight_applies_to": "learning_rate"},
    "last_joint": {"target_phase": "last", "joint_fraction": 0.4, "phase_optimizer_state": "reset"},
    "probes": {"merge_deltas": False, "joint_fraction": 0.6},
    "probes_by_weights": {"merge_deltas": False, "joint_fraction": 0.5, "task_sampling": "weights"},
    "final": {"final_target_epochs": 1},
    "final_last": {"final_target_epochs": 2, "target_phase": "last", "warmup_steps": 4},
    "final_probes": {"final_target_epochs": 1, "merge_deltas": False, "joint_fraction": 0.5, "num_train_epochs": 4},
    "equal": {"phase_lengths": "equal"},
    "equal_last_final": {"phase_lengths": "equal", "target_phase": "last", "final_target_epochs": 1},
    "tempered": {"phase_lengths": "temperature", "sampling_temperature": 0.5},
    "tempered_both": {
        "phase_lengths": "temperature",
        "sampling_temperature": 3.0,
        "target_phase": "both",
        "joint_fraction": 0.3,
        "rounds_per_epoch": 2,
    },
    "equal_probes": {"phase_lengths": "equal", "merge_deltas": False, "joint_fraction": 0.5},
    "rounds": {"rounds_per_epoch": 2},
    "rounds_last": {"rounds_per_epoch": 3, "target_phase": "last", "alpha_batch_size": 16},
    "chosen": {"max_auxiliaries_per_epoch": 1, "num_train_epochs": 4},
    "chosen_joint": {
        "max_auxiliaries_per_epoch": 1,
        "joint_fraction": 0.4,
        "weight_applies_to": "learning_rate",
        "phase_lengths": "equal",
        "num_train_epochs": 4,
        "final_target_epochs": 1,
    },
    "chosen_rounds": {"max_auxiliaries_per_epoch": 1, "rounds_per_epoch": 2, "target_phase": "last"},
    "rounds_both_final": {
        "rounds_per_epoch": 4,
        "target_phase": "both",
        "joint_fraction": 0.3,
        "final_target_epochs": 1,
    },
}
SGD = {"optim_args": "momentum=0.9"}
#: Phases of the toy's first and last epoch (K = 5, 7 and 3 steps), and the target's steps in a row in both.
PHASES = {
    "last": ({"b": 7, "c": 3, TARGET_PHASE: 5}, {"b": 7, "c": 3, TARGET_PHASE: 5}, 5, 5),
    "both": ({"a": 5, "b": 7, "c": 3, TARGET_PHASE: 5},) * 2 + (10, 10),
    "probes": ({JOINT_PHASE: 9, "a": 2, "b": 3, "c": 1}, {JOINT_PHASE: 15}, 3, 5),
    "final": ({"a": 5, "b": 7, "c": 3}, {TARGET_PHASE: 15}, 5, 15),
    "rounds": ({"a": 5, "b": 7, "c": 3},) * 2 + (5, 5),
    "equal": ({"a": 5, "b": 5, "c": 5},) * 2 + (5, 5),
    "tempered": ({"a": 4, "b": 9, "c": 2},) * 2 + (4, 4),  # 15 times 25, 49 and 9, over 83
}


def rules_of(settings):
    rules = {"momentum": 0.9} | settings
    rules["epochs"] = rules.pop("num_train_epochs", 3)
    if rules.get("weight_applies_to") == "learning_rate":
        rules["normalize_task_weights"] = "all"
    return rules


def assert_equals_reference(run, case):
    rules = rules_of(CASES[case])
    if "max_auxiliaries_per_epoch" in rules:
        rules["chosen"] = tuple(tuple(entry["chosen_auxiliaries"]) for entry in run["history"])
    records = reference(**rules)
    assert len(run["history"]) == len(records)
    for entry, tensors, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["alpha"] == pytest.approx(record["alpha"], abs=TOLERANCE)
        assert entry["task_weights"] == pytest.approx(record["task_weights"], abs=TOLERANCE)
        assert_same_tensors(tensors["theta"], record["theta"])


@pytest.mark.parametrize("case", CASES)
def test_equals_the_straight_line(case, tmp_path):
    run = run_toy(tmp_path, **SGD | CASES[case])
    assert_equals_reference(run, case)
    if case in PHASES:
        first, last = run["history"][0], run["history"][-1]
        found = (first["phase_steps"], last["phase_steps"])
        assert (*found, first["target_steps_in_a_row"], last["target_steps_in_a_row"]) == PHASES[case]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("config", "cases"),
    [
        ("ddp", ("rounds_both_final", "probes", "last", "chosen_joint")),
        ("fsdp2", ("rounds_both_final", "probes", "chosen_joint")),
    ],
    ids=["ddp", "fsdp2"],
)
def test_two_processes_equal_the_straight_line(config, cases, tmp_path):
    shared = SGD | {"per_device_train_batch_size": 4}
    runs = [{"output_dir": str(tmp_path / case), **shared, **CASES[case]} for case in cases]
    for case, run in zip(cases, fork_runs(run_toy, runs, config, 2), strict=True):
        assert_equals_reference(run, case)


def test_an_epoch_s_history_tells_the_rounds_and_the_target_s_own_epochs(tmp_path):
    history = run_toy(tmp_path, rounds_per_epoch=2, final_target_epochs=1, target_phase="last")["history"]
    for entry in history[:2]:
        alphas = [of_round["alpha"] for of_round in entry["rounds"]]
        assert len(alphas) == 2
        assert alphas[0] != alphas[1]
        assert entry["alpha"] == pytest.approx({t: (alphas[0][t] + alphas[1][t]) / 2 for t in entry["alpha"]})
        assert entry["alpha"]["a"] == 1.0
        assert entry["task_weights"]["a"] == 1.0
    assert history[2]["alpha"] == {}
    assert history[2]["task_weights_used"] == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert history[2]["task_weights"] == history[1]["task_weights"]


def test_an_epoch_without_forks_keeps_the_totals_and_reads_no_labels_under_entropy(tmp_path):
    settings = {"final_target_epochs": 1, "num_train_epochs": 2}
    forked, alone = run_toy(tmp_path / "loss", **settings)["history"]
    assert alone["total_contribution"] == forked["total_contribution"]
    assert alone["held_out_loss"] == forked["held_out_loss"]
    assert "contribution" not in alone
    alone = run_toy(tmp_path / "entropy", alpha_objective="entropy", **settings)["history"][1]
    assert len(alone["meta_entropy"]) == 1
    assert "meta_loss" not in alone


@pytest.fixture
def epochs(monkeypatch):
    """The rows of every epoch, in order."""
    epochs, batches_of = [], PlanBatchSampler.__iter__

    def recorded(sampler):
        batches = list(batches_of(sampler))
        epochs.append([row for batch in batches for row in batch])
        return iter(batches)

    monkeypatch.setattr(PlanBatchSampler, "__iter__", recorded)
    return epochs


def test_long_phases_pass_through_their_rows_again_and_short_ones_take_a_part(tmp_path, epochs):
    run_toy(tmp_path, phase_lengths="equal", num_train_epochs=2)
    ends = {"a": (0, 37), "b": (37, 87), "c": (87, 110)}
    drawn = [
        {t: Counter(row for row in rows if low <= row < high) for t, (low, high) in ends.items()} for rows in epochs
    ]
    for of_epoch in drawn:
        assert {task: counts.total() for task, counts in of_epoch.items()} == {"a": 40, "b": 40, "c": 40}
        assert set(of_epoch["a"].values()) == set(of_epoch["c"].values()) == {1, 2}
        assert len(of_epoch["a"]) == 37
        assert len(of_epoch["b"]) == 40
        assert len(of_epoch["c"]) == 23
    assert drawn[0]["b"] != drawn[1]["b"]


def test_lengths_stay_when_a_task_is_pruned_or_the_steps_are_capped(tmp_path):
    method = toy_trainer(tmp_path, phase_lengths="equal").runner.method
    method.pruning.pruned.append("b")
    plan = method.plan(1, {"a": 1, "b": 300, "c": 5})
    assert ([phase.num_steps for phase in plan.phases], plan.nominal_steps) == ([102, 102], 306)
    settings = {
        "phase_lengths": "temperature",
        "sampling_temperature": 0.1,
        "max_phase_steps": 8,
        "joint_fraction": 0.5,
    }
    plan = toy_trainer(tmp_path, **settings).runner.method.plan(0, {"a": 6, "b": 8, "c": 4})
    assert {phase.name: phase.num_steps for phase in plan.phases} == {JOINT_PHASE: 9, "a": 4, "b": 4, "c": 1}


def test_the_target_s_own_epochs_train_on_the_held_out_rows(tmp_path, epochs):
    settings = {"alpha_data": "train_holdout", "final_target_epochs": 1, "num_train_epochs": 2}
    trainer = toy_trainer(tmp_path, **settings)
    held_out = trainer.train_datasets["a"].dataset.dataset, trainer.meta_set.dataset.indices
    trainer.train()
    first, last = (Counter(rows) for rows in epochs)
    total, own = len(trainer.train_dataset), len(trainer.train_datasets["a"])
    is_first = next(iter(trainer.train_datasets)) == "a"
    assert is_first
    assert max(first) < total
    assert set(last) == {*range(own), *range(total, total + len(trainer.meta_set))}
    assert max(last.values()) - min(last.values()) <= 1
    rows, _ = plan_rows(trainer.runner)
    for number, index in enumerate(held_out[1]):
        read, expected = rows[total + number], held_out[0][index]
        assert read["task"] == "a"
        assert all(torch.equal(torch.as_tensor(read[name]), torch.as_tensor(expected[name])) for name in expected)


def test_steps_in_a_row():
    joint = Phase("j", (("a",), ("b",), ("a", "b")))
    forks = [Phase("a", (("a",),) * 3, fork=True, round=r) for r in (0, 1)]
    probe = Phase("a", (("a",),) * 7, fork=True, is_probe=True)
    after = Phase("t", (("a",),) * 2, round=2)
    assert EpochPlan(0, (joint, *forks, after), 11).steps_in_a_row("a") == 2 + 3 + 3 + 2
    assert EpochPlan(0, (joint, forks[0], Phase("b", (("b", "a"),) * 4, fork=True)), 9).steps_in_a_row("a") == 2 + 4
    assert EpochPlan(0, (joint, probe), 9).steps_in_a_row("a") == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"final_target_epochs": 3}, "final_target_epochs=3 and merge_deltas=True leave 0 of the run's 3 epochs"),
        (
            {"final_target_epochs": 2, "merge_deltas": False, "joint_fraction": 0.5},
            "leave 1 of the run's 3 epochs to αVIL, which needs 2",
        ),
        ({"order": ["a"], "target_phase": "last"}, "target_phase='last' needs an auxiliary task"),
    ],
)
def test_plans_that_cannot_be_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        toy_trainer(tmp_path, **settings).train()


def test_the_target_trains_on_when_no_auxiliary_is_left(tmp_path):
    method = toy_trainer(tmp_path, target_phase="last").runner.method
    method.pruning.pruned += ["b", "c"]
    assert [phase.name for phase in method.plan(1, {"a": 5, "b": 7, "c": 3}).phases] == [TARGET_PHASE]


RESUMED = {
    "rounds_last_final": {
        "rounds_per_epoch": 2,
        "target_phase": "last",
        "final_target_epochs": 1,
        "max_phase_steps": 3,
    },
    # One checkpoint follows another from one round to the next, with other parameters θ0 and deltas.
    "rounds": {"rounds_per_epoch": 2, "max_phase_steps": 3, "save_steps": 3},
    "probes": {"merge_deltas": False, "joint_fraction": 0.5, "max_phase_steps": 2},
    "both": {"target_phase": "both", "joint_fraction": 0.4, "max_phase_steps": 2, "save_steps": 2},
    "equal": {"phase_lengths": "equal", "delta_fraction": 0.4, "save_steps": 4},
}


@pytest.mark.parametrize("variant", RESUMED)
def test_resume_from_every_checkpoint(variant, tmp_path):
    """Among the steps are those before and after a merge inside an epoch, and those of the target's phases."""
    settings = RUN | RESUMED[variant]
    whole = run_toy(tmp_path / "whole", **settings)
    found = sorted((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in found[:-1]:
        resumed = run_toy(
            tmp_path / "resumed", resume_from_checkpoint=str(checkpoint), **settings | NO_MORE_CHECKPOINTS
        )
        assert_same_run(whole, resumed)
        assert torch.equal(whole["torch_rng"], resumed["torch_rng"])
    shutil.rmtree(tmp_path / "whole")
