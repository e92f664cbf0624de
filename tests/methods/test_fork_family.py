"""DIW, probed mixtures, ForkMerge and STILTs against straight lines, on two processes, resumed, and refused."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch.func import functional_call
from transformers import TrainerCallback

from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.methods import METHODS
from hf_alphavil.methods.greedy_merge import merge_greedily
from hf_alphavil.run.divergence import DivergenceError
from reference.fork_family import (
    Run,
    straight_line_diw,
    straight_line_forkmerge,
    straight_line_probed_mixture,
    straight_line_stilts,
)
from support.comparing import assert_same_run
from support.forking import fork_runs
from support.poisoned_run import Poison, PoisonedTrainer
from support.toy_run import NOISY_RUN, TARGET, RecordingTrainer, run_toy, toy_args, toy_data, toy_model, toy_trainer

TOLERANCE = 1e-6
KEYS = ("task_weights", "task_weights_used", "meta_loss", "ranking", "ranking_scores", "branch_scores")
KEYS += ("merge_coefficients", "score")


def minus_meta_loss(run):
    return lambda theta: -run.meta_loss(theta)


# Trainer's settings, the run's options of the reference, and the reference.
CASES = {
    "diw": (
        {"method": "diw", "learning_rate": 0.5},
        {"learning_rate": 0.5},
        lambda run: straight_line_diw(run, probe_fraction=0.5, rate=10.0),
    ),
    "diw_on_learning_rate": (
        {"method": "diw", "method_kwargs": {"probe_fraction": 0.3}, "weight_applies_to": "learning_rate"},
        {},
        lambda run: straight_line_diw(run, probe_fraction=0.3, rate=10.0),
    ),
    # So large a rate that a task falls to 0 and is left out of joint phases.
    "diw_by_weights": (
        {"method": "diw", "method_kwargs": {"weight_learning_rate": 600.0}, "task_sampling": "weights"},
        {},
        lambda run: straight_line_diw(run, probe_fraction=0.5, rate=600.0, by_weights=True),
    ),
    "diw_at_zero": (
        {"method": "diw", "method_kwargs": {"weight_learning_rate": 600.0}, "num_train_epochs": 5},
        {"epochs": 5},
        lambda run: straight_line_diw(run, probe_fraction=0.5, rate=600.0),
    ),
    "diw_from_weights": (
        {"method": "diw", "task_weights": {"b": 2.0, "c": 0.5}},
        {"start": (("b", 2.0), ("c", 0.5))},
        lambda run: straight_line_diw(run, probe_fraction=0.5, rate=10.0),
    ),
    "probed_mixture_from_weights": (
        {"method": "probed_mixture", "task_weights": {"b": 2.0, "c": 0.5}},
        {"start": (("b", 2.0), ("c", 0.5))},
        lambda run: straight_line_probed_mixture(run, probe_fraction=0.5, rate=1.0),
    ),
    "probed_mixture": (
        {"method": "probed_mixture"},
        {},
        lambda run: straight_line_probed_mixture(run, probe_fraction=0.5, rate=1.0),
    ),
    "probed_mixture_warmup": (
        {
            "method": "probed_mixture",
            "method_kwargs": {"probe_fraction": 0.3, "weight_learning_rate": 0.4},
            "warmup_steps": 7,
        },
        {"warmup_steps": 7},
        lambda run: straight_line_probed_mixture(run, probe_fraction=0.3, rate=0.4),
    ),
    "forkmerge": (
        {"method": "forkmerge", "learning_rate": 3.0},
        {"learning_rate": 3.0},
        lambda run: straight_line_forkmerge(run, branches=(0, 3, 5), score=minus_meta_loss(run)),
    ),
    "forkmerge_three_branches": (
        {
            "method": "forkmerge",
            "method_kwargs": {"branches": [1, 0, 2]},
            "warmup_steps": 7,
            "learning_rate": 3.0,
        },
        {"warmup_steps": 7, "learning_rate": 3.0},
        lambda run: straight_line_forkmerge(run, branches=(0, 1, 2), score=minus_meta_loss(run)),
    ),
    "stilts": ({"method": "stilts"}, {}, lambda run: straight_line_stilts(run, intermediate=1)),
    "stilts_two_epochs": (
        {"method": "stilts", "method_kwargs": {"intermediate_epochs": 2}, "warmup_steps": 7},
        {"warmup_steps": 7},
        lambda run: straight_line_stilts(run, intermediate=2),
    ),
}


@cache
def reference(case):
    _, settings, records = CASES[case]
    return records(reference_run(**settings))


def reference_run(**settings):
    train, meta = toy_data()
    defaults = {"epochs": 3, "learning_rate": 0.1, "rows_per_step": 8, "data_seed": 42}
    return Run(toy_model(), train, meta, TARGET, **defaults | settings)


def assert_equals_reference(run, records):
    assert len(run["history"]) == len(run["epochs"]) == len(records)
    for entry, tensors, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["alpha"] == {}
        for key in KEYS:
            if key in record:
                assert entry[key] == pytest.approx(record[key], abs=TOLERANCE), key
        assert tensors["theta"].keys() == record["theta"].keys()
        for name, tensor in tensors["theta"].items():
            torch.testing.assert_close(tensor, record["theta"][name], rtol=0, atol=TOLERANCE)
        for task, delta in record.get("deltas", {}).items():
            for name, tensor in tensors["delta"][task].items():
                torch.testing.assert_close(tensor, delta[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_equals_straight_line_reference(case, tmp_path):
    assert_equals_reference(run_toy(tmp_path, **CASES[case][0]), reference(case))


def test_the_cases_are_not_trivial():
    """Weights move, a task falls to 0, branches are merged and change order: the equality above is not trivial."""
    for case in ("diw", "probed_mixture"):
        first, second, third = reference(case)
        assert all(abs(w - 1) > 0.005 for w in first["task_weights"].values()), case
        assert first["task_weights"] != second["task_weights"] == third["task_weights"]
    for case in ("diw_at_zero", "diw_by_weights"):
        assert any(0.0 in record["task_weights_used"].values() for record in reference(case)), case
    ranking, second, third = reference("forkmerge_three_branches")
    assert ranking["ranking"] == ["c", "b"]  # not the order of the tasks
    assert list(second["merge_coefficients"]) != list(third["merge_coefficients"])
    for record in (second, third, *reference("forkmerge")[1:]):
        assert any(0 < coefficient < 1 for coefficient in record["merge_coefficients"].values())


@pytest.mark.parametrize(("effect", "weight"), [(-0.1, 2.0), (0.1, 0.0), (0.0, 0.0)])
def test_a_weight_of_zero_comes_back(effect, weight):
    """By hand: 0 + 10·0.1/0.5, and 2 and 1 for the others; then a mean of 1."""
    method = METHODS["diw"](toy_args("unused", method="diw"), ["a", "b", "c"])
    method.task_weights = {"a": 2.0, "b": 0.0, "c": 1.0}
    method.update_weights({"a": 0.0, "b": effect, "c": 0.0}, start_loss=0.5)
    mean = (2 + weight + 1) / 3
    assert method.task_weights == pytest.approx({"a": 2 / mean, "b": weight / mean, "c": 1 / mean})


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def test_forkmerge_scores_by_the_metric(tmp_path):
    """By the target's accuracy, branches tie: the method breaks ties as the reference does."""
    train, meta = toy_data()
    trainer = RecordingTrainer(
        model=toy_model(),
        args=toy_args(tmp_path, **CASES["forkmerge_three_branches"][0] | {"metric_for_best_model": "accuracy"}),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        compute_metrics=accuracy,
    )
    trainer.train()
    run = reference_run(**CASES["forkmerge_three_branches"][1])

    def score(theta):
        batch = run.meta_batch()
        logits = functional_call(run.model, theta, (TARGET,), batch)["logits"]
        return float((logits.argmax(-1) == batch["labels"]).double().mean())

    records = straight_line_forkmerge(run, branches=(0, 1, 2), score=score)
    assert_equals_reference({"history": trainer.history, "epochs": trainer.epochs}, records)


# ---- The greedy merge


def test_greedy_merge_by_hand():
    """One parameter; the target is best at 1.25, the branches end at 1, 2 and 9."""
    ends = {"x": 2.0, "y": 1.0, "z": 9.0}

    def score(shares):
        return -abs(sum(share * ends[name] for name, share in shares.items()) - 1.25)

    merged = merge_greedily({name: score({name: 1.0}) for name in ends}, score)
    # y first; x at a·1/2: the best of a is .6, at which θ = (1 + .3·2)/1.3 = 1.23; z only makes it worse.
    assert merged.coefficients == {"y": 1.0, "x": pytest.approx(0.3), "z": 0.0}
    assert merged.score == pytest.approx(-abs(1.6 / 1.3 - 1.25))
    assert merged.shares == pytest.approx({"y": 1 / 1.3, "x": 0.3 / 1.3, "z": 0})


def test_greedy_merge_takes_the_smaller_coefficient_of_a_tie():
    merged = merge_greedily({"x": 1.0, "y": 1.0}, lambda shares: 1.0)
    assert merged.coefficients == {"x": 1.0, "y": 0.0}


# ---- What a run leaves


def test_forks_cost_what_multitask_training_costs(tmp_path):
    steps = {
        method: run_toy(tmp_path / method, method=method)["counted"]["global_step"]
        for method in ("multitask", "diw", "probed_mixture", "forkmerge", "stilts")
    }
    assert set(steps.values()) == {45}


def test_weights_are_logged(tmp_path):
    for method in ("diw", "forkmerge", "stilts"):
        run = run_toy(tmp_path / method, method=method, logging_strategy="epoch")
        logged = [entry for entry in run["log_history"] if "weight_b" in entry]
        assert [entry["weight_b"] for entry in logged] == [entry["task_weights"]["b"] for entry in run["history"]]
        assert [entry.get("meta_loss") for entry in logged] == [
            (entry["meta_loss"] or [None])[-1] for entry in run["history"]
        ]
        assert not any(key.startswith("alpha_") for entry in logged for key in entry)


@pytest.mark.parametrize(
    ("method", "use"),
    [
        ("diw", "task weights were measured"),
        ("probed_mixture", "task weights were measured"),
        ("forkmerge", "auxiliaries were ranked and branches merged by scores"),
        ("stilts", None),
    ],
)
def test_the_card_says_what_the_meta_set_was_for(method, use, tmp_path):
    trainer = toy_trainer(tmp_path, method=method, num_train_epochs=2)
    trainer.train()
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "α was fitted" not in text
    assert "`alpha_learning_rate`" not in text
    if use is not None:
        assert f"## How {use}\n\nIn this run, {use} on 40 rows of `a`'s validation split" in text
    for option in vars(trainer.runner.method.options):
        assert f"`method_kwargs.{option}`" in text


def test_heads_move_with_their_branches(tmp_path):
    """`alpha_applies_to` has no effect: no parameter of these methods is merged with coefficient 1."""
    settings = CASES["forkmerge"][0]
    plain = run_toy(tmp_path / "1", **settings)
    assert_same_run(plain, run_toy(tmp_path / "2", **settings, alpha_applies_to="encoder"))


@pytest.mark.parametrize("method", ["diw", "forkmerge"])
def test_batch_norm_statistics_follow(method, tmp_path):
    """The statistics are those of each epoch's joint phase (DIW), or of the branch of only the target (ForkMerge)."""
    seen = []

    class Statistics(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            seen.append(model.encoder[-2].num_batches_tracked.item())

    run_toy(tmp_path, method=method, callbacks=[Statistics()], **NOISY_RUN | {"gradient_accumulation_steps": 1})
    # Of 29 steps (10 + 13 + 6): 15 joint, then 13, since probes take 5, 6 and 3; all in the last epoch. Of 2 branches
    # the first has one more step than the other, and the ranking leaves none.
    assert seen == {"diw": [15, 30, 59], "forkmerge": [0, 15, 30]}[method]


@pytest.mark.parametrize(("method", "steps"), [("stilts", [4, 8, 12, 16, 20, 24, 28, 30]), ("diw", [15, 30])])
def test_only_merges_defer_evaluations(method, steps, tmp_path):
    run = run_toy(tmp_path, method=method, num_train_epochs=2, eval_strategy="steps", eval_steps=4)
    assert [entry["step"] for entry in run["log_history"] if "eval_a_loss" in entry] == steps


# ---- Checkpoints

RESUMED = NOISY_RUN | {
    "num_train_epochs": 3,
    "max_phase_steps": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_strategy": "steps",
    "logging_steps": 3,
}


@pytest.mark.parametrize(
    ("case", "state", "every"),
    [
        ("diw", "per_task", 5),
        ("probed_mixture", "per_task", 8),  # but for the rule, DIW's code
        ("forkmerge_three_branches", "per_task", 5),
        ("forkmerge_three_branches", "reset", 8),
        ("stilts", "per_task", 8),  # its plans do not fork
        ("stilts", "reset", 8),
        pytest.param("diw", "per_task", 1, marks=pytest.mark.slow),
        pytest.param("forkmerge_three_branches", "per_task", 1, marks=pytest.mark.slow),
    ],
)
def test_resume(case, state, every, tmp_path):
    """Inside joint phases, probes and branches, at their ends, and at the ends of stages."""
    settings = RESUMED | CASES[case][0] | {"phase_optimizer_state": state}
    whole = run_toy(tmp_path / "whole", **settings)
    found = checkpoints(tmp_path / "whole")
    assert len(found) == 18
    for checkpoint in found[::every]:
        resumed = run_toy(
            tmp_path / "resumed", resume_from_checkpoint=str(checkpoint), **settings | {"save_strategy": "no"}
        )
        assert_same_run(whole, resumed)


def test_resume_with_other_plans_is_refused(tmp_path):
    settings = RESUMED | CASES["diw"][0] | {"save_steps": 4}
    run_toy(tmp_path, **settings)
    (checkpoint, *_) = [path for path in checkpoints(tmp_path) if path.name == "checkpoint-4"]
    for change, message in (
        ({"num_train_epochs": 4}, "written with num_epochs=3, this run has 4"),
        (
            {"method_kwargs": {"probe_fraction": 0.2}},
            r"method_kwargs.probe_fraction=0.5, this run has 0.2",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run_toy(tmp_path / "other", resume_from_checkpoint=str(checkpoint), **settings | change)


def test_optimizer_states_that_are_not_needed_again_are_freed(tmp_path):
    for method, epochs_left in (("forkmerge", {"(branch 0)", "(branch 2)"}), ("stilts", {"a"})):
        trainer = toy_trainer(tmp_path / method, method=method, optim="adamw_torch")
        trainer.train()
        assert trainer.runner.state.optimizer_states.stored.keys() == epochs_left


# ---- Phases that diverge

DIVERGING = {"max_phase_steps": 3}  # epochs of nine steps


def diverging(folder, method, *steps):
    train, meta = toy_data()
    return PoisonedTrainer(
        model=toy_model(),
        args=toy_args(folder, method=method, **DIVERGING),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        callbacks=[Poison(steps)],
    )


def test_a_probe_that_diverges_measures_nothing(tmp_path):
    """Three joint steps, then two of each of a, b and c."""
    trainer = diverging(tmp_path, "diw", 5)
    trainer.train()
    first = trainer.history[0]
    assert first["dropped"] == {"b": 0}
    assert first["effects"]["b"] == 0.0 != first["effects"]["c"]
    assert first["task_weights"]["b"] == first["task_weights"]["a"]


def test_a_joint_phase_that_is_a_whole_epoch_stops_the_run(tmp_path):
    trainer = diverging(tmp_path, "diw", 20)
    with pytest.raises(DivergenceError, match="every task's loss became NaN or infinite in epoch 3"):
        trainer.train()
    for name, p in trainer.model.named_parameters():
        assert torch.equal(p, trainer.epochs[1]["theta"][name])


def test_a_fork_that_diverges_ranks_last_or_is_left_out(tmp_path):
    """Ranking forks of five and four steps, then branches alike."""
    trainer = diverging(tmp_path, "forkmerge", 6, 15)
    trainer.train()
    ranking, second, third = trainer.history
    assert (ranking["dropped"], second["dropped"], third["dropped"]) == ({"(with c)": 1}, {"(branch 2)": 1}, {})
    assert ranking["ranking"] == ["b", "c"]
    assert ranking["ranking_scores"]["c"] == -math.inf < ranking["ranking_scores"]["b"]
    assert second["merge_coefficients"] == {"(branch 0)": 1.0}
    assert set(third["merge_coefficients"]) == {"(branch 0)", "(branch 2)"}


# ---- Several processes


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("config", "cases"),
    [
        ("ddp", ("diw_at_zero", "forkmerge_three_branches", "stilts")),
        pytest.param("ddp", ("diw", "probed_mixture"), marks=pytest.mark.slow),
        ("fsdp2", ("forkmerge_three_branches",)),
        # `probed_mixture` is DIW but for its rule, which sees no shards.
        pytest.param("fsdp2", ("diw", "diw_at_zero", "stilts"), marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_the_reference(config, cases, tmp_path):
    runs = [{"output_dir": str(tmp_path / case), **CASES[case][0], "per_device_train_batch_size": 4} for case in cases]
    for case, run in zip(cases, fork_runs(run_toy, runs, config, 2), strict=True):
        assert_equals_reference(run, reference(case))
        assert len(run["rank_checksum"]) == 2
        assert len(set(run["rank_checksum"])) == 1


# ---- Refusals, before training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "diw", "num_train_epochs": 1}, "'diw' needs at least 2 epochs, but the run has 1"),
        ({"method": "probed_mixture", "max_steps": 15}, "'probed_mixture' needs at least 2 epochs, but the run has 1"),
        ({"method": "forkmerge", "num_train_epochs": 0.5}, "'forkmerge' needs at least 2 epochs"),
        ({"method": "stilts", "num_train_epochs": 1}, "'stilts' needs at least 2 epochs"),
        (
            {"method": "stilts", "method_kwargs": {"intermediate_epochs": 3}},
            "intermediate_epochs=3 of the method 'stilts' leaves none of the run's 3 epochs to the target: pass at "
            "most 2",
        ),
        ({"method": "diw", "order": ["a"]}, "'diw' needs at least 1 auxiliary task, but the run has 0: add tasks"),
        ({"method": "probed_mixture", "order": ["a"]}, "'probed_mixture' needs at least 1 auxiliary task"),
        ({"method": "forkmerge", "order": ["a", "b"]}, "'forkmerge' needs at least 2 auxiliary tasks"),
        ({"method": "stilts", "order": ["a"]}, "'stilts' needs at least 1 auxiliary task"),
    ],
)
def test_impossible_settings_are_refused(settings, message, tmp_path):
    trainer = toy_trainer(tmp_path, **settings)
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("diw", {"probe_fraction": 1.0}, "probe_fraction=1.0: pass a share in"),
        ("diw", {"weight_learning_rate": 0.0}, "weight_learning_rate=0.0: pass a positive number"),
        ("probed_mixture", {"probe_fraction": 0.0}, "probe_fraction=0.0: pass a share in"),
        ("probed_mixture", {"weight_learning_rate": -1.0}, "weight_learning_rate=-1.0: pass a positive number"),
        ("forkmerge", {"branches": []}, "branches=.*: pass numbers of auxiliaries"),
        ("forkmerge", {"branches": [0, 1.5]}, "branches=.*: pass numbers of auxiliaries"),
        ("forkmerge", {"branches": [-1]}, "branches=.*: pass numbers of auxiliaries"),
        ("stilts", {"intermediate_epochs": -1}, "intermediate_epochs=-1: pass 0 or more"),
    ],
)
def test_bad_options(method, options, message):
    with pytest.raises(ValueError, match=message):
        toy_args("unused", method=method, method_kwargs=options)


@pytest.mark.parametrize("method", ["diw", "stilts"])
def test_runs_are_rounded_up_to_whole_plans(method, tmp_path, caplog):
    run = run_toy(tmp_path, method=method, max_steps=31)
    assert "31 steps end inside an epoch's plan of 15 steps" in caplog.text
    assert run["counted"]["global_step"] == 45
    assert_same_run(run, run_toy(tmp_path / "whole", method=method))
