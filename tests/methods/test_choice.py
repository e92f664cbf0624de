"""The auxiliaries of an epoch: each is tried once, then the greatest upper confidence bounds are chosen."""

import logging
import math
from statistics import fmean, pstdev

import numpy as np
import pytest

from hf_alphavil.methods.choice import AuxiliaryChoice
from support.toy_run import run_toy, toy_trainer

TASKS = [f"t{number}" for number in range(7)]


def contribution(mean, error=1.0):
    return {"mean": mean, "standard_error": error, "rows": 40}


def test_each_is_tried_once_before_one_is_tried_twice_then_the_greatest_bounds():
    means = np.random.default_rng(0).normal(size=len(TASKS)).round(3).tolist()
    rewards, choice, random = {task: [] for task in TASKS}, AuxiliaryChoice(2, seed=3), np.random.default_rng(1)
    for epoch in range(30):
        total = [reward for of_task in rewards.values() for reward in of_task]
        bounds = {
            task: fmean(own) + pstdev(total) * math.sqrt(2 * math.log(len(total)) / len(own)) if own else math.inf
            for task, own in rewards.items()
        }
        chosen = choice.choose(TASKS, epoch)
        assert chosen == sorted(chosen)
        assert len(chosen) == 2
        assert min(bounds[task] for task in chosen) >= max(bounds[task] for task in TASKS if task not in chosen)
        measured = {task: contribution(2 * (means[TASKS.index(task)] + random.normal()), 2.0) for task in chosen}
        choice.observe(chosen, [measured])
        for task in chosen:
            rewards[task].append(measured[task]["mean"] / 2.0)
    counts = [len(rewards[task]) for task in TASKS]
    assert min(counts) >= 1
    assert sum(counts) == 60
    assert counts.index(max(counts)) == means.index(max(means))


def test_the_order_of_the_first_epochs_depends_on_the_seed_alone():
    def first(seed, epoch=0):
        return AuxiliaryChoice(3, seed).choose(TASKS, epoch)

    assert first(1) == first(1)
    assert len({tuple(first(seed)) for seed in range(9)}) > 3
    assert len({tuple(first(1, epoch)) for epoch in range(9)}) > 3
    assert AuxiliaryChoice(7, 0).choose(TASKS, 0) == AuxiliaryChoice(None, 0).choose(TASKS, 0) == TASKS


def test_rewards_of_rounds_of_losses_without_errors_and_of_phases_that_diverged():
    choice = AuxiliaryChoice(2, 0)
    rounds = [{"t0": contribution(1.0, 0.5)}, {"t0": contribution(3.0, 0.5), "t1": contribution(0.0, 0.0)}]
    choice.observe(["t0", "t1", "t2"], rounds)
    choice.observe(["t0", "t1"], [{"t0": contribution(0.25, None), "t1": contribution(math.inf)}])
    assert choice.state_dict() == {"rewards": {"t0": [4.0, 0.25], "t1": [0.0, 0.0], "t2": [0.0]}}
    other = AuxiliaryChoice(2, 0)
    other.load_state_dict(choice.state_dict())
    assert [other.choose(TASKS, epoch) for epoch in range(5)] == [choice.choose(TASKS, epoch) for epoch in range(5)]


def test_a_run_trains_the_chosen_ones_and_leaves_the_weights_of_others(tmp_path):
    settings = {"max_auxiliaries_per_epoch": 1, "num_train_epochs": 4, "joint_fraction": 0.4}
    run = run_toy(tmp_path, logging_strategy="epoch", **settings)
    history = run["history"]
    # Epochs with the smaller auxiliary are shorter, but they are whole epochs in the logs too.
    for key in ("loss", "alpha_a"):
        assert [entry["epoch"] for entry in run["log_history"] if key in entry] == [1, 2, 3, 4]
    chosen = [entry["chosen_auxiliaries"] for entry in history]
    assert sorted(chosen[:2]) == [["b"], ["c"]]
    for entry, (name,) in zip(history, chosen, strict=True):
        other = "c" if name == "b" else "b"
        assert set(entry["phase_steps"]) == {"(joint)", "a", name}
        assert set(entry["contribution"]) == {"a", name}
        assert entry["alpha"][other] == 1.0
        assert entry["task_weights"][other] == entry["task_weights_used"][other]  # the toy's are not normalised
    # K = 5, 7 and 3 steps: the joint phase has 40 % of those of the two tasks, rounded.
    steps = {"b": {"(joint)": 5, "a": 3, "b": 4}, "c": {"(joint)": 3, "a": 3, "c": 2}}
    assert [entry["phase_steps"] for entry in history] == [steps[name] for (name,) in chosen]


def test_an_epoch_that_did_not_train_a_task_does_not_count_towards_its_pruning(tmp_path):
    settings = {"task_weights": {"b": 0.9, "c": 0.9}, "alpha_steps": 0, "prune_below": 0.95, "prune_patience": 2}
    history = run_toy(tmp_path, num_train_epochs=4, max_auxiliaries_per_epoch=1, **settings)["history"]
    chosen = [entry["chosen_auxiliaries"] for entry in history]
    assert chosen[3] != chosen[2]
    assert [entry["pruned"] for entry in history] == [[], [], chosen[2], chosen[3]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_auxiliaries_per_epoch": 2}, "max_auxiliaries_per_epoch=2 has no effect on the run's 2 auxiliaries"),
        (
            {"max_auxiliaries_per_epoch": 1, "final_target_epochs": 2},
            "The 1 epochs that choose max_auxiliaries_per_epoch=1 of 2 auxiliaries leave at least 1 of them untried",
        ),
        ({"max_auxiliaries_per_epoch": 1}, None),
    ],
)
def test_a_number_without_effect_or_too_few_epochs_is_told(tmp_path, caplog, settings, message):
    with caplog.at_level(logging.WARNING):
        toy_trainer(tmp_path, num_train_epochs=3, **settings).runner.begin_run(3)
    told = [record.message for record in caplog.records if "max_auxiliaries_per_epoch" in record.message]
    assert len(told) == (message is not None)
    assert message is None or message in told[0]
