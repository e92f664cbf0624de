"""The optimizers of α on objectives whose best α is known."""

import math

import pytest
import torch
from torch import nn

from hf_alphavil.methods import DeltaBank
from hf_alphavil.methods.alpha import fit_alpha
from hf_alphavil.methods.alpha_problem import AlphaProblem, AlphaSettings

GROUP_OF = {"a": "first", "b": "second"}
TASKS = ("rte", "cola", "mnli")


def settings(**given):
    defaults = {
        "steps": 10, "learning_rate": 0.1, "optimizer": "sgd", "objective": "loss", "initial": 1.0, "l1": 0.0,
        "l2": 0.0, "batch_size": 64, "seed": 0,
    }  # fmt: skip
    return AlphaSettings(**(defaults | given))


def bank(groups=None, tasks=TASKS):
    """θ0 = 0 and a random δ per task, in float64."""
    generator = torch.Generator().manual_seed(0)
    model = nn.ParameterDict({name: nn.Parameter(torch.zeros(4, dtype=torch.float64)) for name in GROUP_OF})
    made = DeltaBank(model, groups=groups)
    made.open()
    for task in tasks:
        made.rewind()
        with torch.no_grad():
            for parameter in made.parameters:
                parameter.copy_(torch.randn(4, generator=generator, dtype=torch.float64))
        made.record(task)
    return made


class Quadratic:
    """½ |θ − θ*|²_H over any rows; a convex function of α."""

    num_rows = 16
    has_metric = False

    def __init__(self, deltas, scale=1.0):
        generator = torch.Generator().manual_seed(1)
        self.deltas, self.evaluations = deltas, 0
        self.best = torch.randn(8, generator=generator, dtype=torch.float64)
        self.curvature = scale * (0.2 + torch.rand(8, generator=generator, dtype=torch.float64))

    def theta(self):
        return torch.cat([p.detach().flatten() for p in self.deltas.parameters])

    def loss(self, rows):
        self.evaluations += 1
        return 0.5 * float((self.curvature * (self.theta() - self.best) ** 2).sum())

    def loss_and_products(self, rows, products):
        gradient = self.curvature * (self.theta() - self.best)
        named = products([gradient[:4], gradient[4:]])
        return self.loss(rows), {name: float(value) for name, value in named.items()}

    def closed_form(self, l2=0.0):
        """α of the least ½ |Dα − θ*|²_H + l2 |α − 1|², tasks in the order of their names."""
        columns = [torch.cat([*self.deltas.delta(task).values()]) for task in sorted(TASKS)]
        directions = torch.stack(columns, dim=1)
        weighed = directions.T * self.curvature
        right = weighed @ self.best + 2 * l2
        return torch.linalg.solve(weighed @ directions + 2 * l2 * torch.eye(3, dtype=torch.float64), right)


class Score:
    """A metric with steps: how many of two α lie in their boxes, neither near the start."""

    num_rows = 16
    has_metric = True

    def __init__(self, deltas, boxes):
        self.deltas, self.boxes, self.seen = deltas, boxes, []

    def combine(self, coefficients):
        self.coefficients = coefficients

    def score(self, rows):
        hits = [low <= self.coefficients[task] <= high for task, (low, high) in self.boxes.items()]
        self.seen.append(sum(hits) / len(hits))
        return self.seen[-1]


def in_order(alpha):
    return [alpha[task] for task in sorted(alpha)]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_lbfgs_reaches_the_optimum_at_any_scale(scale, l2):
    deltas = bank()
    meta = Quadratic(deltas, scale)
    fit = fit_alpha(deltas, meta, TASKS, settings(optimizer="lbfgs", steps=30, l2=l2 * scale))
    best = meta.closed_form(l2 * scale)
    assert in_order(fit.alpha) == pytest.approx(best.tolist(), abs=1e-2)
    assert (best - 1).abs().max() > 0.3
    deltas.combine(dict(zip(sorted(TASKS), best.tolist(), strict=True)))
    penalty = l2 * scale * ((torch.tensor(in_order(fit.alpha)) - 1) ** 2).sum() - l2 * scale * ((best - 1) ** 2).sum()
    assert fit.values[-1] + float(penalty) <= meta.loss([]) * (1 + 1e-4)
    assert len(fit.values) < 30 + 1  # it stops where nothing is gained
    assert fit.acceptance == (fit.values[0], fit.values[-1])


@pytest.mark.parametrize("steps", [1, 3])
def test_lbfgs_takes_no_more_iterations_than_steps(steps):
    deltas = bank()
    told = []
    fit = fit_alpha(deltas, Quadratic(deltas), TASKS, settings(optimizer="lbfgs", steps=steps), progress=told.append)
    assert told == list(range(1, steps + 1))
    assert len(fit.values) == steps + 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_descent_meets_the_minimum_of_objective_and_pull(optimizer):
    deltas = bank()
    meta = Quadratic(deltas)
    fit = fit_alpha(deltas, meta, TASKS, settings(optimizer=optimizer, steps=3000, learning_rate=0.02, l2=0.5))
    assert in_order(fit.alpha) == pytest.approx(meta.closed_form(0.5).tolist(), abs=1e-4)
    assert meta.closed_form(0.5).tolist() != pytest.approx(meta.closed_form().tolist(), abs=1e-2)


def test_a_strong_pull_holds_sgd_at_its_start():
    """An L1 pull above the gradient leaves α exactly there; a huge L2 pull does not blow up."""
    deltas = bank()
    exact = fit_alpha(deltas, Quadratic(deltas), TASKS, settings(l1=100.0))
    assert set(exact.alpha.values()) == {1.0}
    near = fit_alpha(deltas, Quadratic(deltas), TASKS, settings(l2=1e6))
    assert not near.diverged
    assert all(0 < abs(alpha - 1) < 1e-4 for alpha in near.alpha.values())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs", "gradient_free"])
def test_equal_alpha_of_layers_are_pulled_as_one(optimizer):
    given = settings(optimizer=optimizer, l1=0.3, l2=0.7)
    whole, layered = (AlphaProblem(bank(groups), None, TASKS, given) for groups in (None, GROUP_OF))
    assert (len(whole.layout), len(layered.layout)) == (3, 6)
    of_tasks = torch.tensor([1.5, 0.2, 1.0], dtype=torch.float64)
    of_layers = of_tasks.repeat_interleave(2)
    assert (
        layered.penalty(of_layers) == pytest.approx(whole.penalty(of_tasks)) == pytest.approx(0.3 * 1.3 + 0.7 * 0.89)
    )
    gradient = layered.penalty_gradient(of_layers).reshape(3, 2)
    assert torch.allclose(gradient.sum(dim=1), whole.penalty_gradient(of_tasks))


def test_gradient_free_finds_an_alpha_beyond_a_plateau():
    deltas = bank(tasks=("rte", "cola"))
    meta = Score(deltas, {"rte": (1.4, 1.9), "cola": (0.1, 0.6)})
    deltas.combine = meta.combine
    told = []
    given = settings(optimizer="gradient_free", objective="metric")
    fit = fit_alpha(deltas, meta, ("rte", "cola"), given, progress=told.append)
    assert fit.acceptance == (0.0, 1.0)
    assert fit.values[0] == 0.0
    assert fit.values[-1] == 1.0
    assert fit.values == sorted(fit.values)
    assert len(fit.values) == 10 + 1
    assert 1.4 <= fit.alpha["rte"] <= 1.9
    assert 0.1 <= fit.alpha["cola"] <= 0.6
    assert 10 * 3 <= len(meta.seen) <= 1.5 * 10 * 3  # the budget, up to the last division
    assert told[0] == 1
    assert told[-1] == 10


@pytest.mark.parametrize("value", [1.0, math.nan])
def test_gradient_free_keeps_the_start_where_nothing_is_better(value):
    deltas = bank()
    meta = Score(deltas, {})
    meta.score = lambda rows: value
    fit = fit_alpha(deltas, meta, TASKS, settings(optimizer="gradient_free", objective="metric", learning_rate=0.3))
    assert set(fit.alpha.values()) == {1.0}


def test_gradient_free_pays_for_distance():
    """Of two boxes with the same score, the pull takes the nearer; without the pull α goes further."""
    deltas = bank(tasks=("rte",))
    alphas = []
    for l1 in (0.0, 0.5):
        meta = Score(deltas, {"rte": (1.15, 9.0)})
        deltas.combine = meta.combine
        given = settings(optimizer="gradient_free", objective="metric", steps=20, l1=l1)
        alphas.append(fit_alpha(deltas, meta, ("rte",), given).alpha["rte"])
    assert 1.15 <= alphas[1] < alphas[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs", "gradient_free"])
def test_tasks_without_a_delta_and_no_steps(optimizer):
    deltas = bank(tasks=("rte", "cola"))
    fit = fit_alpha(deltas, Quadratic(deltas), TASKS, settings(optimizer=optimizer))
    assert fit.alpha["mnli"] == 1.0
    assert fit.alpha["rte"] != 1.0
    told = []
    none = fit_alpha(deltas, Quadratic(deltas), TASKS, settings(optimizer=optimizer, steps=0), progress=told.append)
    assert set(none.alpha.values()) == {1.0}
    assert len(none.values) == 1
    assert none.acceptance == (none.values[0],) * 2
    assert told == []


@pytest.mark.parametrize("optimizer", ["lbfgs", "gradient_free"])
def test_an_objective_that_breaks_down_leaves_the_start(optimizer):
    deltas = bank()

    class Broken(Quadratic):
        def loss(self, rows):
            return 1.0 if super().loss(rows) == self.at_start else math.nan

    meta = Broken(deltas)
    deltas.combine(dict.fromkeys(TASKS, 1.0))
    meta.at_start = Quadratic.loss(meta, [])
    fit = fit_alpha(deltas, meta, TASKS, settings(optimizer=optimizer))
    assert set(fit.alpha.values()) == {1.0}


def test_one_learning_rate_fits_either_granularity():
    """Where all layers say the same, they take the steps that the task would take."""

    class Even(Quadratic):
        def loss_and_products(self, rows, products):
            named = products([torch.zeros(4, dtype=torch.float64)] * 2)
            slopes = {"rte": -3.0, "cola": 1.0, "mnli": 0.5}
            return 1.0, {name: slopes[name.split("/")[0]] / (2 if "/" in name else 1) for name in named}

        def loss(self, rows):
            return 1.0

    fits = []
    for groups in (None, GROUP_OF):
        deltas = bank(groups)
        fits.append(fit_alpha(deltas, Even(deltas), TASKS, settings(steps=4)))
    assert fits[1].alpha == pytest.approx(fits[0].alpha)
    assert set(fits[1].alpha_by_layer["rte"]) == {"first", "second"}
    assert fits[0].alpha_by_layer is None
