"""The optimizers of α on objectives whose best α is known."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import direct, lsq_linear
from torch import nn

from hf_alphavil.methods import DeltaBank
from hf_alphavil.methods.alpha import fit_alpha, mean_over_encoder
from hf_alphavil.methods.alpha_optimizers import LBFGS, DirectSearch, GradientDescent, make_alpha_optimizer
from hf_alphavil.methods.alpha_problem import AlphaProblem

GROUP_OF = {"a": "first", "b": "second"}
TASKS = ("rte", "cola", "mnli")


def fit(
    deltas, meta, optimizer="sgd", progress=lambda step: None, steps=10, learning_rate=0.1, tolerance=0.0, **problem
):
    """Fits α by an optimizer that has seen no epoch before, on batches of 64 rows."""
    made = make_alpha_optimizer(
        SimpleNamespace(
            alpha_optimizer=optimizer,
            alpha_steps=steps,
            alpha_learning_rate=learning_rate,
            alpha_batch_size=64,
            alpha_tolerance=tolerance,
        )
    )
    return fit_alpha(AlphaProblem(deltas, meta, **problem), made, seed=0, progress=progress)


def bank(groups=None, tasks=TASKS):
    """θ0 = 0 and a random δ per task, in float64."""
    generator = torch.Generator().manual_seed(0)
    model = nn.ParameterDict({name: nn.Parameter(torch.zeros(4, dtype=torch.float64)) for name in GROUP_OF})
    made = DeltaBank(model, groups=groups)
    made.open(tasks)
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
        return self.loss(rows), products([gradient[:4], gradient[4:]])

    def closed_form(self, l2=0.0):
        """α of the least ½ |Dα − θ*|²_H + l2 |α − 1|², tasks in the order of their names."""
        columns = [torch.cat([*self.deltas.delta(task).values()]) for task in sorted(TASKS)]
        directions = torch.stack(columns, dim=1)
        weighed = directions.T * self.curvature
        right = weighed @ self.best + 2 * l2
        return torch.linalg.solve(weighed @ directions + 2 * l2 * torch.eye(3, dtype=torch.float64), right)


def test_the_model_is_merged_once_under_each_alpha(monkeypatch):
    """Ten steps, and the last α: its value, the comparison with the start and the epoch's end need the same merge."""
    merged, combine = [], DeltaBank.combine
    monkeypatch.setattr(DeltaBank, "combine", lambda self, alpha: merged.append(alpha.clone()) or combine(self, alpha))
    deltas = bank()
    problem = AlphaProblem(deltas, Quadratic(deltas))
    fitted = fit_alpha(problem, GradientDescent("sgd", 10, 0.1, 64), seed=0)
    problem.merge(fitted.alpha)
    assert len(merged) == 11
    assert torch.equal(merged[-1], fitted.alpha)


# ---- The early end of gradient steps


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_end_once_two_of_them_no_longer_gain(optimizer):
    """The path is that of all steps, up to the first two that gained less than the tolerance."""
    settings = {"optimizer": optimizer, "steps": 60, "learning_rate": 0.2}
    whole = fit(*problem_of(), **settings)
    deltas, meta = problem_of()
    finished = []
    ended = fit(deltas, meta, **settings, tolerance=0.01, progress=finished.append)
    taken = ended.details["alpha_steps_taken"]
    gains = [1 - whole.values[step] / whole.values[step - 2] for step in range(2, 61)]
    assert taken == 2 + next(number for number, gain in enumerate(gains) if gain < 0.01) < 60
    assert ended.values == whole.values[: taken + 1]
    assert finished == list(range(1, taken + 1))
    assert meta.evaluations == taken + 1
    assert ended.acceptance == (ended.values[0], ended.values[-1])
    assert "alpha_steps_taken" not in whole.details


def problem_of(num_rows=16):
    deltas = bank()
    meta = Quadratic(deltas)
    meta.num_rows = num_rows
    return deltas, meta


def test_a_gain_counts_the_penalty():
    """A penalty that keeps α at its start leaves nothing to gain."""
    assert fit(*problem_of(), tolerance=0.01, l2=1e6, steps=30).details["alpha_steps_taken"] == 2


def test_all_steps_are_taken_where_they_see_different_rows(caplog):
    deltas, meta = problem_of(num_rows=65)
    optimizer = GradientDescent("sgd", 30, 0.1, 64, tolerance=0.5)
    optimizer.check(meta, range(65), 3)
    assert "alpha_tolerance=0.5 has no effect" in caplog.text
    assert "alpha_batch_size=65" in caplog.text
    assert len(fit_alpha(AlphaProblem(deltas, meta), optimizer, seed=0).values) == 31
    caplog.clear()
    optimizer.check(problem_of()[1], range(16), 3)
    assert not caplog.records


class Score:
    """A metric with steps: how many of two α are in their boxes. Neither box is near the start."""

    num_rows = 16
    has_metric = True

    def __init__(self, deltas, boxes):
        self.deltas, self.boxes, self.seen = deltas, boxes, []

    def combine(self, alpha):
        self.alpha = dict(zip(self.deltas.phases, alpha.flatten().tolist(), strict=True))

    def score(self, rows):
        hits = [low <= self.alpha[task] <= high for task, (low, high) in self.boxes.items()]
        self.seen.append(sum(hits) / len(hits))
        return self.seen[-1]


def of(fitted):
    """α as a list, tasks in the order of their names."""
    return fitted.alpha.flatten().tolist()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_lbfgs_reaches_the_optimum_at_any_scale(scale, l2):
    deltas = bank()
    meta = Quadratic(deltas, scale)
    fitted = fit(deltas, meta, "lbfgs", steps=30, l2=l2 * scale)
    best = meta.closed_form(l2 * scale)
    assert of(fitted) == pytest.approx(best.tolist(), abs=1e-2)
    assert (best - 1).abs().max() > 0.3
    deltas.combine(best.reshape(3, 1))
    penalty = l2 * scale * ((fitted.alpha - 1) ** 2).sum() - l2 * scale * ((best - 1) ** 2).sum()
    assert fitted.values[-1] + float(penalty) <= meta.loss([]) * (1 + 1e-4)
    assert len(fitted.values) < 30 + 1  # it stops where nothing is gained
    assert fitted.acceptance == (fitted.values[0], fitted.values[-1])


@pytest.mark.parametrize("steps", [1, 3])
def test_lbfgs_takes_no_more_iterations_than_steps(steps):
    deltas = bank()
    finished = []
    fitted = fit(deltas, Quadratic(deltas), "lbfgs", finished.append, steps)
    assert finished == list(range(1, steps + 1))
    assert len(fitted.values) == steps + 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradient_descent_meets_the_minimum_of_objective_and_penalty(optimizer):
    deltas = bank()
    meta = Quadratic(deltas)
    fitted = fit(deltas, meta, optimizer, steps=3000, learning_rate=0.02, l2=0.5)
    assert of(fitted) == pytest.approx(meta.closed_form(0.5).tolist(), abs=1e-4)
    assert meta.closed_form(0.5).tolist() != pytest.approx(meta.closed_form().tolist(), abs=1e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("groups", [None, GROUP_OF], ids=["task", "layer"])
def test_bounded_alpha_is_the_bounded_minimum(optimizer, groups):
    """SciPy's least squares with bounds finds the best α of the quadratic on its own."""
    deltas = bank(groups)
    meta, (low, high) = Quadratic(deltas), (-0.2, 1.0)
    steps, learning_rate = (60, 0.1) if optimizer == "lbfgs" else (3000, 0.02)
    fitted = fit(deltas, meta, optimizer, steps=steps, learning_rate=learning_rate, minimum=low, maximum=high)
    columns = []
    for task in sorted(TASKS):
        delta = deltas.delta(task)
        parts = [{name: delta[name] * (name in kept) for name in delta} for kept in ([*"ab"] if groups else ["ab"])]
        columns += [torch.cat([*part.values()]) for part in parts]
    root = meta.curvature.sqrt()
    best = lsq_linear(
        (torch.stack(columns, 1) * root[:, None]).numpy(), (meta.best * root).numpy(), (low, high), tol=1e-14
    )
    assert of(fitted) == pytest.approx(best.x.tolist(), abs=1e-4)
    assert {low, high} & set(of(fitted))
    assert all(low <= alpha <= high for alpha in of(fitted))
    assert sum(low < alpha < high for alpha in of(fitted)) > 0


@pytest.mark.parametrize("bounds", [(0.9, math.inf), (-math.inf, 1.0), (0.4, 1.3)])
def test_gradient_free_searches_the_box_that_the_bounds_leave(bounds):
    """The best of the start and of all that SciPy's DIRECT tries in the cut box."""
    deltas = bank()
    meta, tried = Quadratic(deltas), []

    def total(point):
        deltas.combine(torch.tensor(point).reshape(3, 1))
        tried.append((meta.loss([]), list(point)))
        return tried[-1][0]

    total(np.ones(3))
    direct(total, [(max(0.0, bounds[0]), min(2.0, bounds[1]))] * 3, maxfun=10 * 4 - 1, vol_tol=0)
    fitted = fit(deltas, meta, "gradient_free", minimum=bounds[0], maximum=bounds[1])
    assert of(fitted) == min(tried)[1]
    assert (fitted.values[0], fitted.values[-1]) == fitted.acceptance == (tried[0][0], min(tried)[0])
    assert fitted.values[-1] < fitted.values[0]
    assert len(fitted.values) == 10 + 1
    assert all(bounds[0] <= alpha <= bounds[1] for alpha in of(fitted))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs", "gradient_free"])
def test_alpha_that_only_its_own_rows_like_falls_back(optimizer):
    """The second half of the rows loses what the first gains: α is fitted on the one and refused by the other."""
    deltas, halves = bank(), (list(range(0, 16, 2)), list(range(1, 16, 2)))

    class Opposed(Quadratic):
        def loss(self, rows):
            seen.add(tuple(rows))
            return super().loss(rows) * (1 if set(rows) <= {*halves[0]} else -1)

    seen = set()
    own = fit(deltas, Opposed(deltas), optimizer, halves=(halves[0], halves[0]))
    assert not own.diverged
    assert seen == {tuple(halves[0])}
    refused = fit(deltas, Opposed(deltas), optimizer, halves=halves)
    assert refused.diverged
    assert set(of(refused)) == {1.0}
    assert refused.values == own.values
    assert refused.acceptance == pytest.approx((-own.acceptance[0], -own.acceptance[1]))
    assert seen == {tuple(half) for half in halves}


def test_a_strong_penalty_holds_sgd_at_its_start():
    """An L1 penalty steeper than the objective leaves α exactly there; a huge L2 penalty does not blow up."""
    deltas = bank()
    exact = fit(deltas, Quadratic(deltas), l1=100.0)
    assert set(of(exact)) == {1.0}
    near = fit(deltas, Quadratic(deltas), l2=1e6)
    assert not near.diverged
    assert all(0 < abs(alpha - 1) < 1e-4 for alpha in of(near))


def test_equal_alpha_of_layers_have_the_penalty_of_one():
    whole, layered = (AlphaProblem(deltas, Quadratic(deltas), l1=0.3, l2=0.7) for deltas in (bank(), bank(GROUP_OF)))
    assert (whole.shape, layered.shape) == ((3, 1), (3, 2))
    of_tasks = torch.tensor([[1.5], [0.2], [1.0]], dtype=torch.float64)
    of_layers = of_tasks.expand(3, 2)
    assert (
        layered.penalty(of_layers) == pytest.approx(whole.penalty(of_tasks)) == pytest.approx(0.3 * 1.3 + 0.7 * 0.89)
    )
    gradient = layered.penalty_gradient(of_layers)
    assert torch.allclose(gradient.sum(dim=1, keepdim=True), whole.penalty_gradient(of_tasks))


def test_a_metric_is_minimised_as_minus_its_score():
    deltas = bank(tasks=("rte",))
    meta = Score(deltas, {"rte": (0.0, 2.0)})
    deltas.combine = meta.combine
    problem = AlphaProblem(deltas, meta, "metric")
    assert problem.value(problem.start(), [0]) == -1.0
    assert problem.reported(-1.0) == 1.0
    loss = AlphaProblem(deltas, Quadratic(deltas))
    assert loss.reported(loss.value(loss.start(), [0])) == loss.meta.loss([0])


def test_gradient_free_finds_an_alpha_beyond_a_plateau():
    deltas = bank(tasks=("rte", "cola"))
    meta = Score(deltas, {"rte": (1.4, 1.9), "cola": (0.1, 0.6)})
    deltas.combine = meta.combine
    finished = []
    fitted = fit(deltas, meta, "gradient_free", finished.append, objective="metric")
    assert fitted.acceptance == (0.0, 1.0)
    assert fitted.values[0] == 0.0
    assert fitted.values[-1] == 1.0
    assert fitted.values == sorted(fitted.values)
    assert len(fitted.values) == 10 + 1
    cola, rte = of(fitted)
    assert 1.4 <= rte <= 1.9
    assert 0.1 <= cola <= 0.6
    assert 10 * 3 <= len(meta.seen) <= 1.5 * 10 * 3  # the budget, up to the last division
    assert finished[0] == 1
    assert finished[-1] == 10


@pytest.mark.parametrize("value", [1.0, math.nan])
def test_gradient_free_keeps_the_start_where_nothing_is_better(value):
    deltas = bank()
    meta = Score(deltas, {})
    meta.score = lambda rows: value
    fitted = fit(deltas, meta, "gradient_free", objective="metric", learning_rate=0.3)
    assert set(of(fitted)) == {1.0}


def test_gradient_free_pays_for_distance():
    """Among two α with the same score, the penalty takes the nearer; without the penalty α goes further."""
    deltas = bank(tasks=("rte",))
    alphas = []
    for l1 in (0.0, 0.5):
        meta = Score(deltas, {"rte": (1.15, 9.0)})
        deltas.combine = meta.combine
        alphas += of(fit(deltas, meta, "gradient_free", objective="metric", steps=20, l1=l1))
    assert 1.15 <= alphas[1] < alphas[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs", "gradient_free"])
def test_no_steps_leave_the_start(optimizer):
    deltas = bank(tasks=("rte", "cola"))
    fitted = fit(deltas, Quadratic(deltas), optimizer)
    assert fitted.alpha.shape == (2, 1)
    assert 1.0 not in of(fitted)
    finished = []
    none = fit(deltas, Quadratic(deltas), optimizer, finished.append, steps=0)
    assert of(none) == [1.0, 1.0]
    assert len(none.values) == 1
    assert none.acceptance == (none.values[0],) * 2
    assert finished == []


@pytest.mark.parametrize("optimizer", ["lbfgs", "gradient_free"])
def test_an_objective_that_breaks_down_leaves_the_start(optimizer):
    deltas = bank()

    class Broken(Quadratic):
        def loss(self, rows):
            return 1.0 if super().loss(rows) == self.at_start else math.nan

    meta = Broken(deltas)
    deltas.combine(torch.ones(3, 1))
    meta.at_start = Quadratic.loss(meta, [])
    fitted = fit(deltas, meta, optimizer)
    assert set(of(fitted)) == {1.0}


class Even(Quadratic):
    """A loss whose gradient is the same in all groups, and in sum over them."""

    def loss_and_products(self, rows, products):
        num_groups = len(self.deltas.groups)
        slopes = torch.tensor([[1.0], [0.5], [-3.0]], dtype=torch.float64)
        return 1.0, slopes.expand(3, num_groups) / num_groups

    def loss(self, rows):
        return 1.0


def test_one_learning_rate_fits_either_granularity():
    """If all layers have the same slope, they take the steps that the task would take."""
    whole, layered = (fit(deltas, Even(deltas), steps=4) for deltas in (bank(), bank(GROUP_OF)))
    assert torch.allclose(layered.alpha, whole.alpha.expand(3, 2))
    assert len(set(of(whole))) == 3


def test_sgd_keeps_the_largest_first_gradient_as_its_unit():
    """A later, smaller gradient makes smaller steps, after a resume too; Adam and the others keep no state."""
    deltas = bank()
    problem = AlphaProblem(deltas, Even(deltas))
    sgd, resumed = (GradientDescent("sgd", 4, 0.1, 64) for _ in range(2))
    first = fit_alpha(problem, sgd, seed=0)
    assert sgd.state_dict() == {"gradient_unit": pytest.approx(math.sqrt(1 + 0.25 + 9))}
    resumed.load_state_dict(json.loads(json.dumps(sgd.state_dict())))
    half = Even(deltas)
    half.loss_and_products = lambda rows, products: (1.0, Even.loss_and_products(half, rows, products)[1] / 2)
    for optimizer in (sgd, resumed):
        second = fit_alpha(AlphaProblem(deltas, half), optimizer, seed=0)
        assert torch.allclose(second.alpha - 1, (first.alpha - 1) / 2)
    adam = GradientDescent("adam", 4, 0.1, 64)
    fit_alpha(problem, adam, seed=0)
    assert adam.gradient_unit == 0.0
    assert LBFGS(4).state_dict() == DirectSearch(4, 0.1).state_dict() == {}


def test_the_alpha_of_a_task_is_the_mean_over_the_encoder():
    assert mean_over_encoder([1.0, 2.0, 9.0], ["layer.0", "layer.1", "(heads)"]) == 1.5
    assert mean_over_encoder([9.0], ["(heads)"]) == 9.0
    assert mean_over_encoder([0.7], ["all"]) == 0.7
