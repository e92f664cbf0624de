"""Contributions of tasks: the target's loss without each delta, minus the loss with it, row by row."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from hf_alphavil.methods.alpha_problem import AlphaProblem
from hf_alphavil.methods.alphavil import AlphaVIL
from hf_alphavil.methods.contributions import Contributions, leave_one_out
from methods.test_secant import TASKS, Linear, fit
from support.toy_run import LABELS, META_ROWS, TARGET, run_toy, toy_data, toy_model, toy_trainer

ALPHA = torch.tensor([[0.5], [1.5], [-0.25]], dtype=torch.float64)


def loss_by_row(meta, alpha):
    """The merged model's loss on every row, by torch alone."""
    start, deltas = meta.deltas.start(), [meta.deltas.delta(task) for task in TASKS]
    weight, bias = (
        start[name] + sum(a * delta[name] for a, delta in zip(alpha, deltas, strict=True)) for name in start
    )
    logits, labels = meta.x @ weight.T + bias, meta.labels
    if meta.kind == "classes":
        return F.cross_entropy(logits, labels, reduction="none")
    if meta.kind == "numbers":
        return (logits - labels).square().mean(-1)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)


@pytest.mark.parametrize("kind", ["classes", "numbers", "flags"])
def test_leave_one_out_is_the_difference_of_the_rows_losses(kind):
    meta = Linear(kind)
    gains, merged = leave_one_out(AlphaProblem(meta.deltas, meta), ALPHA)
    alpha = ALPHA[:, 0]
    with_all = loss_by_row(meta, alpha)
    assert meta.passes == len(TASKS) + 1
    assert merged == pytest.approx(with_all.mean().item())
    for number, of_task in enumerate(gains):
        without = loss_by_row(meta, torch.where(torch.arange(3) == number, 0.0, alpha))
        np.testing.assert_allclose(of_task, without - with_all, atol=1e-12)


def test_rows_of_different_lengths_add_up_to_the_loss():
    meta = Linear("tokens")
    gains, merged = leave_one_out(AlphaProblem(meta.deltas, meta), ALPHA)
    alpha = ALPHA[:, 0]
    assert merged == pytest.approx(meta.loss_at(alpha).item())
    without = meta.loss_at(torch.where(torch.arange(3) == 1, 0.0, alpha)).item()
    assert gains.shape == (3, meta.num_rows)
    assert gains[1].mean() == pytest.approx(without - merged)


class OtherLoss(Linear):
    """A loss that is not known row by row."""

    def predictions(self, rows):
        return [replace(batch, loss=2 * batch.loss) for batch in super().predictions(rows)]


class OtherOutputs(Linear):
    """Outputs that are not one tensor."""

    def predictions(self, rows):
        raise ValueError("the model's logits and the labels 'labels' must be one tensor each")

    def loss(self, rows):
        return sum(batch.loss * len(batch.rows) for batch in super().predictions(rows)) / len(rows)


@pytest.mark.parametrize(("kind", "factor"), [(OtherLoss, 2), (OtherOutputs, 1)])
def test_without_losses_of_rows_the_mean_is_known(kind, factor):
    of_rows, _ = leave_one_out(AlphaProblem(Linear("classes").deltas, Linear("classes")), ALPHA)
    meta = kind("classes")
    gains, _ = leave_one_out(AlphaProblem(meta.deltas, meta), ALPHA)
    assert gains.shape == (3, 1)
    meta = Linear("classes")
    of_rows, _ = leave_one_out(AlphaProblem(meta.deltas, meta), ALPHA)
    np.testing.assert_allclose(gains[:, 0], factor * of_rows.mean(axis=1))
    summary = Contributions().add({"rte": gains[0]}, 1.0)["contribution"]["rte"]
    assert (summary["standard_error"], summary["rows"]) == (None, 1)


def test_epochs_are_summed_row_by_row():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 30))
    contributions = Contributions()
    contributions.add({"rte": first, "cola": second}, 0.7)
    resumed = Contributions()
    resumed.load_state_dict(json.loads(json.dumps(contributions.state_dict())))
    for of_run in (contributions, resumed):
        entry = of_run.add({"rte": second}, 0.6)
        assert entry["held_out_loss"] == 0.6
        assert set(entry["contribution"]) == {"rte"}
        total = entry["total_contribution"]
        assert total["rte"]["mean"] == pytest.approx((first + second).mean())
        assert total["rte"]["standard_error"] == pytest.approx(stats.sem(first + second))
        assert total["cola"]["standard_error"] == pytest.approx(stats.sem(second))


def toy_row_losses(theta, rows):
    """The toy's loss on every row of the target, by torch alone."""
    model = toy_model()
    model.load_state_dict(theta, strict=False)
    with torch.no_grad():
        logits = model(TARGET, rows["x"])["logits"]
    return F.cross_entropy(logits, rows["labels"], reduction="none").numpy()


def test_an_epoch_s_contribution_is_that_of_all_its_rounds(tmp_path, monkeypatch):
    """The sum over rounds of each row's loss without the task's δ minus the loss with it, by the toy alone."""
    merges = []
    merge_round = AlphaVIL.merge_round

    def recorded(method, deltas, *args):
        start = {name: tensor.clone() for name, tensor in deltas.start().items()}
        moves = {task: {name: d.clone() for name, d in deltas.delta(task).items()} for task in deltas.phases}
        loss = merge_round(method, deltas, *args)
        merges.append((start, moves))
        return loss

    monkeypatch.setattr(AlphaVIL, "merge_round", recorded)
    trainer = toy_trainer(
        tmp_path, rounds_per_epoch=2, num_train_epochs=3, learning_rate=1.0, logging_strategy="epoch"
    )
    trainer.train()
    rows = [toy_data()[1][number] for number in range(META_ROWS)]
    rows = {name: torch.stack([row[name] for row in rows]) for name in ("x", "labels")}
    totals = dict.fromkeys(LABELS, 0.0)
    logged = [entry for entry in trainer.state.log_history if f"contribution_{TARGET}" in entry]
    for number, (entry, logs) in enumerate(zip(trainer.history, logged, strict=True)):
        of_epoch = dict.fromkeys(LABELS, 0.0)
        for of_round, (start, moves) in zip(entry["rounds"], merges[2 * number : 2 * number + 2], strict=True):
            for task in moves:

                def merged(left_out=None, start=start, moves=moves, alpha=of_round["alpha"]):
                    return {
                        name: theta + sum(alpha[u] * moves[u][name] for u in moves if u != left_out)
                        for name, theta in start.items()
                    }

                of_epoch[task] += toy_row_losses(merged(task), rows) - toy_row_losses(merged(), rows)
        for task, of_rows in of_epoch.items():
            found = entry["contribution"][task]
            assert found["mean"] == pytest.approx(of_rows.mean())
            assert found["standard_error"] == pytest.approx(stats.sem(of_rows))
            assert logs[f"contribution_{task}"] == found["mean"]
            totals[task] = totals[task] + of_rows
            assert entry["total_contribution"][task]["mean"] == pytest.approx(totals[task].mean())


def test_secant_knows_the_gains_without_a_pass():
    """Logits are linear in α here, so that only the fits to the other folds differ from leave-one-out."""
    meta = Linear("classes", num_rows=400, size=0.4)
    start = {name: tensor.clone() for name, tensor in meta.deltas.start().items()}
    moves = [{name: tensor.clone() for name, tensor in meta.deltas.delta(task).items()} for task in TASKS]
    with torch.no_grad():  # θ0 is where the first two deltas lead back to the parameters that made the labels
        for name, parameter in meta.model.named_parameters():
            parameter.copy_(start[name] - moves[0][name] - 0.5 * moves[1][name])
        meta.deltas.open(TASKS)
        for task, move in zip(TASKS, moves, strict=True):
            meta.deltas.rewind()
            for name, parameter in meta.model.named_parameters():
                parameter += move[name]
            meta.deltas.record(task)
    fitted = fit(meta.deltas, meta)
    gains, _ = leave_one_out(AlphaProblem(meta.deltas, meta), fitted.alpha)
    of_tasks, expected = fitted.gains.mean(axis=1), gains.mean(axis=1)
    assert np.abs(expected).max() > 0.03
    np.testing.assert_allclose(of_tasks, expected, atol=0.003)


def test_a_run_reports_contributions_and_trains_as_without(tmp_path):
    measured = run_toy(tmp_path / "a", num_train_epochs=2)
    without = run_toy(tmp_path / "b", num_train_epochs=2, measure_contributions=False)
    for ours, plain in zip(measured["epochs"], without["epochs"], strict=True):
        assert all(torch.equal(ours["theta"][name], plain["theta"][name]) for name in ours["theta"])
    first, second = measured["history"]
    assert set(first["contribution"]) == set(first["alpha"])
    for task, total in second["total_contribution"].items():
        parts = [entry["contribution"][task]["mean"] for entry in (first, second)]
        assert total["mean"] == pytest.approx(sum(parts))
        assert total["standard_error"] > 0
    assert second["held_out_loss"] == pytest.approx(second["acceptance_loss"][1])
    assert not any("contribution" in key for key in without["history"][0])


def test_logs_have_the_means_and_entropy_reads_no_labels(tmp_path):
    trainer = toy_trainer(tmp_path / "a", num_train_epochs=1, logging_strategy="epoch")
    trainer.train()
    logged = {key: value for entry in trainer.state.log_history for key, value in entry.items()}
    assert logged[f"contribution_{TARGET}"] == trainer.history[0]["contribution"][TARGET]["mean"]
    trainer = toy_trainer(tmp_path / "b", num_train_epochs=1, alpha_objective="entropy")
    trainer.train()
    assert "contribution" not in trainer.history[0]


def test_layers_are_taken_away_together(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1, alpha_granularity="layer", alpha_optimizer="secant")
    trainer.train()
    contribution = trainer.history[0]["contribution"]
    assert set(contribution) == set(trainer.history[0]["alpha"])
    assert all(math.isfinite(of_task["mean"]) for of_task in contribution.values())


@pytest.mark.parametrize("optimizer", ["sgd", "secant"])
def test_contributions_are_those_of_the_rows_that_accept(optimizer, tmp_path):
    run = run_toy(tmp_path, num_train_epochs=1, alpha_acceptance="held_out", alpha_optimizer=optimizer)
    (entry,) = run["history"]
    assert entry["held_out_loss"] == pytest.approx(entry["acceptance_loss"][1])
    assert {of_task["rows"] for of_task in entry["contribution"].values()} == {META_ROWS // 2}
