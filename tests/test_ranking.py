"""Ranking of candidate auxiliaries: effects equal a straight line, in the order, words and names that it promises."""

import json
import math

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from hf_alphavil.ranking import COST, DIVERGED, SAVED, AuxiliaryRanking
from hf_alphavil.reporting.verdicts import NO_EFFECT, Verdict
from reference.straight_line import derive_seed, sgd_step, take, task_gradient
from support.forking import fork_runs
from support.ranked_run import PROBE_STEPS, ROUNDS, TARGET_STEPS, rank_toy, ranking_of_toy
from support.toy_run import SIZES, TARGET, toy_data, toy_model

ROWS = 8


def straight_line_effects():
    """By task, what its probes save each row of the meta set over all rounds, with SGD at a constant rate."""
    model = toy_model()
    train, meta = toy_data()
    theta0 = {name: p.detach().clone() for name, p in model.named_parameters()}
    effects = dict.fromkeys(SIZES, 0.0)
    for epoch in range(ROUNDS):

        def trained(theta, task, first, steps, epoch=epoch):
            seed = derive_seed(42, epoch, task, "rows")
            rows = torch.randperm(SIZES[task], generator=torch.Generator().manual_seed(seed)).tolist()
            for step in range(first, first + steps):
                batch = [rows[i % len(rows)] for i in range(step * ROWS, (step + 1) * ROWS)]
                theta = sgd_step(theta, task_gradient(model, theta, task, take(train[task], batch)), {}, 0.1, 0.0, 0.0)
            return theta

        theta0 = trained(theta0, TARGET, 0, TARGET_STEPS)
        delta = {}
        for task in SIZES:
            ended = trained(theta0, task, TARGET_STEPS if task == TARGET else 0, PROBE_STEPS)
            delta[task] = {name: ended[name] - theta0[name] for name in theta0}

        def losses(*deltas, start=theta0):
            theta = {name: p + sum((of[name] for of in deltas), torch.zeros_like(p)) for name, p in start.items()}
            rows = take(meta, range(len(meta)))
            logits = functional_call(model, theta, (TARGET,), {"x": rows["x"]})["logits"]
            return cross_entropy(logits, rows["labels"], reduction="none").detach().numpy()

        own = losses(delta[TARGET])
        for task in SIZES:
            saved = losses() - own if task == TARGET else own - losses(delta[TARGET], delta[task])
            effects[task] = effects[task] + saved
    return effects, own.mean(), theta0


def assert_equals_the_straight_line(ranking):
    effects, loss, theta0 = straight_line_effects()
    assert ranking["held_out_loss"] == pytest.approx(loss, abs=1e-6)
    assert ranking["rows"] == len(effects[TARGET])
    found = ranking["effects"] | {TARGET: ranking["target_effect"]}
    for task, of_rows in effects.items():
        assert found[task]["contribution"] == pytest.approx(of_rows.mean(), abs=1e-6), task
        error = of_rows.std(ddof=1) / math.sqrt(len(of_rows))
        assert found[task]["half_width"] == pytest.approx(2.0227 * error, rel=1e-4)  # t, 39 degrees of freedom, 97.5 %
    assert list(ranking["effects"]) == sorted(("b", "c"), key=lambda task: -np.mean(effects[task]))
    return theta0


def test_effects_equal_the_straight_line(tmp_path):
    ranking, model, args = rank_toy(tmp_path)
    theta0 = assert_equals_the_straight_line(ranking.to_dict())
    for name, p in model.named_parameters():  # the target's steps stay, the probes are undone
        assert torch.allclose(p, theta0[name], atol=1e-6)
    assert (args.lr_scheduler_type, args.num_train_epochs) == ("linear", 3)  # the user's arguments stay
    assert not list(tmp_path.glob("*"))


@pytest.mark.distributed
@pytest.mark.parametrize("config", ["ddp", "fsdp2"])
def test_two_processes_equal_the_straight_line(config, tmp_path):
    run = {"output_dir": str(tmp_path), "per_device_train_batch_size": ROWS // 2}
    (ranking,) = fork_runs(ranking_of_toy, [run], config, 2)
    assert_equals_the_straight_line(ranking)


def test_a_candidate_that_diverges_comes_last_and_a_target_that_does_is_an_error(tmp_path):
    ranking, _, _ = rank_toy(tmp_path, poisoned="b")
    assert list(ranking.effects) == ["c", "b"]
    assert ranking.effects["b"].words == DIVERGED
    assert json.loads(json.dumps(ranking.to_dict()))["effects"]["b"]["contribution"] is None
    assert ranking.table().splitlines()[-1].split()[-1] == "-"
    with pytest.raises(ValueError, match=f"the probe of the target '{TARGET}' diverged: lower learning_rate"):
        rank_toy(tmp_path, poisoned=TARGET)


def test_names_and_table():
    effects = {
        "x": Verdict(SAVED, 0.5, 0.1),
        "y": Verdict(NO_EFFECT, 0.0, 0.01),
        "z": Verdict(COST, -0.5, 0.1),
        "nan": Verdict(DIVERGED, math.nan, None),
    }
    ranking = AuxiliaryRanking("rte", effects, Verdict(SAVED, 1.0, 0.25), 0.75, 64, 10, 5, 4)
    assert ranking.top(1) == ["x"]
    assert ranking.top(9) == ["x", "y"]
    assert ranking.table().splitlines() == [
        "rte: what 5 steps of each task save beside 5 of its own, of a loss of 0.750 on 64 held-out rows (sum of 4 "
        "rounds, each after 10 steps of rte)",
        "",
        "task                               effect        loss saved",
        "------------  ---------------------------  ----------------",
        "rte (target)                   saved loss  +1.000 +/- 0.250",
        "x                              saved loss  +0.500 +/- 0.100",
        "y                         no clear effect  +0.000 +/- 0.010",
        "z                               cost loss  -0.500 +/- 0.100",
        "nan           loss became NaN or infinite                 -",
    ]


@pytest.mark.parametrize("steps", [{"target_steps": 0}, {"probe_steps": 1.5}, {"rounds": 0}])
def test_steps_that_cannot_be_are_refused(tmp_path, steps):
    ((name, value),) = steps.items()
    with pytest.raises(ValueError, match=f"{name}={value}: pass a positive whole number"):
        rank_toy(tmp_path, **steps)
