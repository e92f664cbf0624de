"""`alpha_optimizer="secant"` on targets whose best α is known."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as F

from hf_alphavil.methods import DeltaBank, secant
from hf_alphavil.methods.alpha import fit_alpha
from hf_alphavil.methods.alpha_optimizers import make_alpha_optimizer
from hf_alphavil.methods.alpha_problem import AlphaProblem
from hf_alphavil.methods.linear_logits import LinearLogits
from hf_alphavil.methods.logit_losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from hf_alphavil.methods.objective import Predictions
from hf_alphavil.methods.ridge_choice import FOLDS, PRIOR, RIDGES, fit_with_ridge, prior_ridge, standard_errors
from hf_alphavil.methods.secant import Secant
from methods.test_alpha_further import functional
from support.exactness import TOLERANCE
from support.kinds_run import kinds_trainer
from support.toy_run import TARGET, run_toy, toy_trainer

TASKS = ("cola", "mnli", "rte")
LOSSES = {
    "classes": F.cross_entropy,
    "tokens": lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten()),
    "numbers": F.mse_loss,
    "flags": F.binary_cross_entropy_with_logits,
}


def fit(deltas, meta, steps=10, learning_rate=0.1, progress=lambda step: None, **problem):
    args = SimpleNamespace(alpha_optimizer="secant", alpha_steps=steps, alpha_learning_rate=learning_rate)
    return fit_alpha(AlphaProblem(deltas, meta, **problem), make_alpha_optimizer(args), seed=0, progress=progress)


class Linear:
    """A linear head on fixed features: its logits are linear in α."""

    has_metric = False

    def __init__(self, kind, num_rows=40, size=1.0):
        draw = torch.Generator().manual_seed(0)
        self.kind, self.num_rows = kind, num_rows
        shape = (num_rows, 7, 6) if kind == "tokens" else (num_rows, 6)
        self.x = torch.randn(shape, generator=draw, dtype=torch.float64)
        self.model = nn.Linear(6, 1 if kind == "numbers" else 3).double()
        self.deltas = DeltaBank(self.model)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
            true = self.model(self.x) + torch.randn((*shape[:-1], self.model.out_features), generator=draw)
            self.deltas.open(TASKS)
            for task in TASKS:
                self.deltas.rewind()
                for parameter in self.model.parameters():
                    parameter += size * torch.randn(parameter.shape, generator=draw)
                self.deltas.record(task)
        self.labels = {"numbers": true, "flags": (true > 0).double()}.get(kind, true.argmax(-1))
        if kind == "tokens":  # rows of different numbers of labels, as after padding
            self.labels[torch.arange(7) >= torch.randint(1, 8, (num_rows, 1), generator=draw)] = -100
        self.passes = 0

    def loss_at(self, alpha):
        """Computed again, from scratch, for comparison."""
        start, deltas = self.deltas.start(), [self.deltas.delta(task) for task in TASKS]
        weight, bias = (
            start[name] + sum(a * delta[name] for a, delta in zip(alpha, deltas, strict=True)) for name in start
        )
        logits = self.x @ weight.T + bias
        parts = [LOSSES[self.kind](logits[rows], self.labels[rows]) * len(rows) for rows in self.micro_batches()]
        return sum(parts) / self.num_rows

    def micro_batches(self):
        return torch.arange(self.num_rows).flip(0).split(16)

    def predictions(self, rows):
        self.passes += 1
        with torch.no_grad():
            logits = self.model(self.x)
        return [
            Predictions(
                part.tolist(), logits[part].numpy(), self.labels[part].numpy(),
                LOSSES[self.kind](logits[part], self.labels[part]).item(),
            )
            for part in self.micro_batches()
        ]  # fmt: skip


@pytest.mark.parametrize(("l2", "bounds"), [(0.0, (0, 2)), (0.02, (0, 2)), (0.0, (0.9, 1.2)), (0.0, (0.5, 1.0))])
@pytest.mark.parametrize("kind", LOSSES)
def test_alpha_is_the_minimum_if_logits_are_linear(kind, l2, bounds):
    """SciPy minimises the loss of the merged model and the chosen ridge, by torch's gradient."""
    meta = Linear(kind)
    fitted = fit(meta.deltas, meta, l2=l2, learning_rate=0.1, minimum=bounds[0], maximum=bounds[1])
    bounds = max(bounds[0], 0), bounds[1]  # the reach

    def total(point):
        alpha = torch.tensor(point, requires_grad=True)
        value = meta.loss_at(alpha) + (fitted.details["alpha_ridge"] + l2) * ((alpha - 1) ** 2).sum()
        value.backward()
        return value.item(), alpha.grad.numpy()

    options = {"ftol": 0, "gtol": 1e-12, "maxiter": 10_000}
    best = minimize(total, np.ones(3), jac=True, method="L-BFGS-B", bounds=[bounds] * 3, options=options).x
    assert np.abs(best - 1).max() > 0.09
    assert bounds[1] == 2 or {*bounds} & set(fitted.alpha.flatten().tolist())
    assert fitted.alpha.flatten().numpy() == pytest.approx(best, abs=1e-6)
    assert fitted.acceptance[0] == pytest.approx(meta.loss_at(torch.ones(3)).item())
    assert fitted.acceptance[1] == pytest.approx(meta.loss_at(torch.tensor(best)).item(), abs=1e-6)
    assert meta.passes == fitted.details["alpha_forward_passes"] == len(TASKS) + 2
    assert set(fitted.details["alpha_standard_error"]) == set(TASKS)


def test_alpha_stays_within_its_reach():
    meta = Linear("numbers")
    near, far = (fit(meta.deltas, meta, steps=steps).alpha.flatten() - 1 for steps in (2, 10))
    assert near.abs().max().item() == pytest.approx(0.2)
    assert far.abs().max() > 0.5
    assert fit(meta.deltas, meta, steps=0).alpha.tolist() == [[1.0]] * 3


# ---- The ridge


def regression(num_rows, draw, gain=0.0, tasks=4):
    """Deltas of noise, the first of which also helps."""
    residual, changes = draw.normal(size=num_rows), draw.normal(size=(tasks, num_rows))
    changes[0] += gain * residual
    return LinearLogits(
        SquaredError(), np.zeros((num_rows, 1)), changes[..., None], residual, np.full(num_rows, 1 / num_rows),
        np.arange(num_rows),
    )  # fmt: skip


def test_deltas_of_noise_leave_alpha_near_its_start_and_a_helpful_one_moves_it():
    noise, helpful, fresh_gains = [], [], []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        noise.append(fit_with_ridge(regression(60, draw), 0.0, (-1.0, 1.0), 1.0, seed).moves)
        found = fit_with_ridge(regression(60, draw, gain=1.0), 0.0, (-1.0, 1.0), 1.0, seed)
        helpful.append(found.moves)
        fresh = regression(2000, draw, gain=1.0)
        fresh_gains.append(fresh.unit_losses(np.zeros(4)).sum() - fresh.unit_losses(found.moves).sum())
        assert found.gains[0].mean() > found.gains[1:].mean()
    assert (np.abs(noise).max(axis=1) < 0.02).mean() > 0.8
    assert np.median(np.array(helpful)[:, 0]) > 0.25
    assert np.abs(helpful)[:, 1:].mean() < 0.1
    assert min(fresh_gains) > 0


def test_the_ridge_is_that_of_the_one_standard_error_rule():
    """Left-out losses by the closed form of ridge regression."""
    earlier = []
    for seed in range(4):
        problem = regression(50, np.random.default_rng(seed), gain=0.3)
        found = fit_with_ridge(problem, 0.01, (-1e6, 1e6), 1.0, seed)
        x, y = problem.changes[..., 0].T, problem.labels
        folds = np.empty(50, dtype=int)
        folds[np.random.default_rng(seed).permutation(50)] = np.arange(50) % FOLDS
        prior = ((x * y[:, None]).var(axis=0, ddof=1).sum() / 50) / (x**2).mean(axis=0).sum() / PRIOR**2
        ridges = prior + np.array([math.inf, *RIDGES * (x**2).mean()])
        moves = [
            np.array([closed_form(x[folds != fold], y[folds != fold], ridge + 0.01) for fold in folds])
            for ridge in ridges
        ]
        losses = np.array([(y - (x * of_rows).sum(axis=1)) ** 2 for of_rows in moves])
        above = losses - losses[losses.mean(axis=1).argmin()]
        chosen = next(n for n, row in enumerate(above) if row.mean() <= row.std(ddof=1) / math.sqrt(50))
        assert found.ridge == pytest.approx(ridges[chosen])
        assert found.moves == pytest.approx(closed_form(x, y, ridges[chosen] + 0.01), abs=1e-8)
        without = moves[chosen].copy()
        without[:, 2] = -1
        assert found.gains[2] == pytest.approx((y - (x * without).sum(axis=1)) ** 2 - losses[chosen])
        earlier.append(chosen < losses.mean(axis=1).argmin())
    assert any(earlier)


def test_the_prior_shrinks_a_move_by_its_standard_error():
    problem = regression(50, np.random.default_rng(0), gain=0.3, tasks=1)
    (free,) = problem.minimum(1e-12, (-9.0, 9.0), np.zeros(1))
    ridge = prior_ridge(problem, 0.5)
    slope, curvature = problem.row_slopes(np.zeros(1))[0], problem.curvature(np.zeros(1)).item()
    variance = slope.var(ddof=1) * 50 / curvature**2
    assert problem.minimum(ridge, (-9.0, 9.0), np.zeros(1)).item() == pytest.approx(free * 0.25 / (0.25 + variance))


def test_small_deltas_leave_alpha_near_its_start():
    """Even those that help: rows that agree on a direction do not say how far to go."""
    problem = regression(60, np.random.default_rng(0), gain=1.0)
    small, tiny = (
        fit_with_ridge(replace(problem, changes=size * problem.changes), 0.0, (-1.0, 1.0), 1.0, 0)
        for size in (1e-3, 1e-5)
    )
    assert 1e-3 < small.moves[0] < 0.05
    assert tiny.moves == pytest.approx(small.moves / 100, rel=0.01)
    assert math.isfinite(tiny.ridge)


def closed_form(x, y, ridge):
    if ridge == math.inf:
        return np.zeros(x.shape[1])
    return np.linalg.solve(x.T @ x / len(y) + ridge * np.eye(x.shape[1]), x.T @ y / len(y))


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError(), BinaryCrossEntropy()], ids=lambda loss: loss.words)
def test_standard_errors_are_the_spread_over_draws(loss):
    draw, fits, errors = np.random.default_rng(0), [], []
    for _ in range(200):
        logits, changes = draw.normal(size=(150, 1)), draw.normal(size=(2, 150, 1))
        chance = 1 / (1 + np.exp(-(logits + 0.8 * changes[0])[:, 0]))
        labels = (draw.random(150) < chance).astype(int if isinstance(loss, CrossEntropy) else float)
        if isinstance(loss, CrossEntropy):
            logits, changes = (np.concatenate([part * 0, part], axis=-1) for part in (logits, changes))
        problem = LinearLogits(loss, logits, changes, labels, np.full(150, 1 / 150), np.arange(150))
        fits.append(problem.minimum(0.01, (-10.0, 10.0), np.zeros(2)))
        errors.append(standard_errors(problem, fits[-1], 0.01))
    assert np.mean(errors, axis=0) == pytest.approx(np.std(fits, axis=0), rel=0.15)


# ---- Models whose logits are not linear in α


@dataclass
class Curve:
    """A regression whose logit is a function of the only α; every label is 1."""

    function: object
    num_rows: int = 20
    has_metric: bool = False

    def __post_init__(self):
        self.deltas = SimpleNamespace(phases=["rte"], groups=["all"], combine=self._combine)
        self.seen = []

    def _combine(self, alpha):
        self.seen.append(alpha.item())

    def predictions(self, rows):
        logits = np.full((len(rows), 1), float(self.function(self.seen[-1] - 1)))
        return [Predictions(rows, logits, np.ones(len(rows)), float((logits[0, 0] - 1) ** 2))]


def test_the_way_is_halved_until_the_target_is_no_worse():
    meta = Curve(lambda away: away if away < 0.3 else -5.0)
    fitted = fit(meta.deltas, meta)
    start, probe, proposal, *halved = meta.seen
    assert (start, probe) == (1.0, 0.5)
    assert halved == [pytest.approx(1 + (proposal - 1) / 2), pytest.approx(1 + (proposal - 1) / 4)]
    assert proposal > 1.9
    assert fitted.alpha.item() == halved[-1]
    assert fitted.acceptance == (1.0, pytest.approx((2 - halved[-1]) ** 2))
    assert not fitted.diverged


def test_alpha_falls_back_where_nothing_on_the_way_is_better(caplog):
    meta = Curve(lambda away: away if away <= 0 else math.nan)
    fitted = fit(meta.deltas, meta)
    assert fitted.alpha.item() == 1.0
    assert fitted.diverged
    assert len(meta.seen) == fitted.details["alpha_forward_passes"] == 2 + 1 + Secant.HALVINGS
    assert "α falls back to its start of 1 for this epoch" in caplog.text


def test_the_history_says_whether_another_round_would_have_followed():
    bent, straight = (
        fit(meta.deltas, meta).details
        for meta in (Curve(lambda away: 1.5 * (1 - math.exp(-4 * away))), Curve(lambda away: 0.5 * away))
    )
    assert (bent["alpha_linearizations"], bent["alpha_reached_limit"]) == (2, True)
    assert bent["alpha_forward_passes"] <= 2 * 1 + 6
    assert (straight["alpha_linearizations"], straight["alpha_reached_limit"]) == (1, False)


def test_another_round_follows_where_the_logits_bend():
    """α goes on from where a round ended; S and `ROUNDS` limit the rounds."""
    finished, values = [], {}
    for steps in (1, 10):
        finished.clear()
        meta = Curve(lambda away: 1.5 * (1 - math.exp(-away)))
        fitted = fit(meta.deltas, meta, steps=steps, learning_rate=2.0 / steps, progress=finished.append)
        values[steps] = fitted.values
        assert finished == list(range(1, len(fitted.values)))
        assert fitted.details["alpha_forward_passes"] == len(meta.seen)
    assert len(values[1]) == 2
    assert values[10][:2] == values[1]
    assert len(values[10]) == 1 + Secant.ROUNDS
    assert fitted.details["alpha_linearizations"] == Secant.ROUNDS
    assert values[10] == sorted(values[10], reverse=True)
    assert values[10][-1] < 0.2 * values[1][1]


def test_a_later_round_that_prefers_the_start_changes_nothing(monkeypatch):
    found = []

    def fit_once(*args):
        fitted = fit_with_ridge(*args)
        found.append(replace(fitted, moves=fitted.moves * 0, ridge=math.inf) if found else fitted)
        return found[-1]

    monkeypatch.setattr(secant, "fit_with_ridge", fit_once)
    meta = Curve(lambda away: 1.5 * (1 - math.exp(-away)))
    fitted = fit(meta.deltas, meta)
    assert len(found) == 2
    assert fitted.alpha.item() == pytest.approx(1 + found[0].moves.item())
    assert fitted.details["alpha_ridge"] == found[0].ridge


@pytest.mark.parametrize("broken", [0.5, 1.0])
def test_an_objective_that_breaks_down_leaves_the_start(broken):
    """At the start, or at a probe."""
    meta = Curve(lambda away: math.nan if away + 1 == broken else away)
    assert fit(meta.deltas, meta).alpha.item() == 1.0


# ---- Runs


@pytest.mark.parametrize("settings", [{}, {"alpha_granularity": "layer", "alpha_l2": 0.001}], ids=["task", "layer"])
def test_a_run_lowers_the_target_s_loss(settings, tmp_path):
    run = run_toy(tmp_path, alpha_optimizer="secant", alpha_steps=10, num_train_epochs=2, **settings)
    for entry, tensors in zip(run["history"], run["epochs"], strict=True):
        before, after = entry["acceptance_loss"]
        assert after < before
        assert before == pytest.approx(functional(tensors)(torch.ones(3)).item(), rel=TOLERANCE)
        assert all(abs(alpha - 1) <= 1 for alpha in entry["alpha"].values())
        errors = entry["alpha_standard_error"]
        assert set(errors) == set(entry["contribution"]) == set(entry["alpha"])
        if settings:
            assert set(errors[TARGET]) == set(entry["alpha_by_layer"][TARGET])
            assert {of_task["(heads)"] for of_task in (errors["b"], errors["c"])} == {0.0}
        else:
            assert after == pytest.approx(
                functional(tensors)(torch.tensor(list(entry["alpha"].values()))).item(), rel=TOLERANCE
            )


@pytest.mark.parametrize("target", ["tags", "score", "quiz", "names", "prose"])
def test_every_kind_is_a_target(target, tmp_path):
    settings = {"alpha_optimizer": "secant", "alpha_data": "train_holdout", "alpha_holdout_fraction": 0.4}
    trainer = kinds_trainer(tmp_path, target=target, max_phase_steps=1, num_train_epochs=1, **settings)
    trainer.train()
    (entry,) = trainer.history
    assert entry["acceptance_loss"][1] <= entry["acceptance_loss"][0]
    assert entry["alpha_forward_passes"] >= len(entry["alpha"]) + 1


def without_training(trainer):
    def step(*args, **kwargs):
        raise AssertionError("training has begun")

    trainer.training_step = step
    return trainer


def test_a_loss_of_the_model_s_own_is_refused(tmp_path):
    trainer = without_training(toy_trainer(tmp_path, alpha_optimizer="secant"))
    forward = trainer.model.forward

    def with_margin(task, x=None, labels=None):
        outputs = forward(task, x, labels)
        return outputs | {"loss": F.multi_margin_loss(outputs["logits"], labels)} if labels is not None else outputs

    trainer.model.forward = with_margin
    with pytest.raises(
        ValueError, match=r"'secant' needs a loss that is the mean cross-entropy .* pass alpha_optimizer"
    ):
        trainer.train()


def test_too_many_logits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Secant, "MAX_NUMBERS", 40 * 2 * 4 - 1)
    message = r"for each of 3 values of α: about 320 numbers of 40 rows, more than 319: pass alpha_optimizer='lbfgs'"
    with pytest.raises(ValueError, match=message):
        without_training(toy_trainer(tmp_path, alpha_optimizer="secant")).train()


def test_a_setting_that_the_optimizer_does_not_read_is_warned_of(tmp_path, caplog):
    toy_trainer(tmp_path, alpha_optimizer="secant", alpha_batch_size=8, alpha_learning_rate=0.2)
    assert "alpha_optimizer='secant' does not read alpha_batch_size=8, which has no effect." in caplog.text
