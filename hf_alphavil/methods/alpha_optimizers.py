"""The ways to minimise the target's objective over α."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import OptimizeResult, direct, minimize
from torch import Tensor

from .alpha_problem import AlphaProblem

#: The gradient-free search is over this many unknowns at most: beyond, its few evaluations would find nothing.
MAX_SEARCHED = 20


@dataclass(frozen=True)
class AlphaTrajectory:
    """
    How an optimizer went.

    Args:
        alpha (`torch.Tensor`): Where it ended, of shape `(unknowns,)`.
        values (`list[float]`): The objective before every step, and at the end.
        on_acceptance_rows (`bool`): Whether the first and the last value are over the rows on which α is judged.
        gradient_scale (`float`): The unit of `sgd`'s step size, to be passed on to the next epoch.
    """

    alpha: Tensor
    values: list[float]
    on_acceptance_rows: bool
    gradient_scale: float


#: Optimizer of α: from the problem, the rows on which α is judged, the unit of `sgd`'s step size after the epochs
#: before, and a function that is told the number of every finished step.
AlphaOptimizer = Callable[[AlphaProblem, list[int], float, Callable[[int], None]], AlphaTrajectory]


def meta_batches(num_rows: int, batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """
    Meta rows of every α step, drawn without replacement; the whole meta set, in order, where it fits one batch.

    Args:
        num_rows (`int`): Rows of the meta set.
        batch_size (`int`): Rows per step.
        steps (`int`): Number of batches.
        seed (`int`): Seed of the draw.
    """
    if batch_size >= num_rows:
        return [list(range(num_rows))] * steps
    generator = torch.Generator().manual_seed(seed)
    batches: list[list[int]] = []
    order: list[int] = []
    while len(batches) < steps:
        if len(order) < batch_size:
            order = torch.randperm(num_rows, generator=generator).tolist()
        batches.append(order[:batch_size])
        order = order[batch_size:]
    return batches


def gradient_descent(
    problem: AlphaProblem, acceptance: list[int], gradient_scale: float, progress: Callable[[int], None]
) -> AlphaTrajectory:
    """
    `sgd` and `adam`: S gradient steps, each on a batch of meta rows; αVIL's α optimisation (arXiv 2405.07769).

    The unit of the SGD step size is ours: the largest norm of an epoch's first gradient so far in the run (with one α
    per group of parameters, the root mean square over a task's groups). One learning rate then fits any loss scale
    and either granularity, a run whose first deltas did nothing does not blow up later, and small late gradients
    still make small steps. The pull is no part of the unit, which a large one would exceed by far: after each step by
    the objective's gradient `sgd` takes its proximal step, of the same step size, which is stable for any pull and
    meets the minimum of objective and pull. `adam` adds its gradient.
    """
    settings = problem.settings
    alpha = problem.start().requires_grad_()
    optimizer_class = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[settings.optimizer]
    optimizer = optimizer_class([alpha], lr=settings.learning_rate)
    batches = meta_batches(problem.meta.num_rows, settings.batch_size, settings.steps, settings.seed)
    values = []
    for step, rows in enumerate(batches):
        value, gradient = problem.objective_and_gradient(alpha.detach(), rows)
        values.append(value)
        if settings.optimizer == "sgd":
            norm = gradient.norm().item() / math.sqrt(len(problem.layout.groups))
            if step == 0 and math.isfinite(norm):
                gradient_scale = max(gradient_scale, norm)
            unit = gradient_scale or 1.0
            alpha.grad = gradient / unit
            optimizer.step()
            problem.proximal_step_(alpha.detach(), settings.learning_rate / unit)
        else:
            alpha.grad = gradient + problem.penalty_gradient(alpha.detach())
            optimizer.step()
        progress(step + 1)
    last = batches[-1] if batches else acceptance
    values.append(problem.objective(alpha.detach(), last))
    return AlphaTrajectory(alpha.detach(), values, not batches or batches[0] == acceptance, gradient_scale)


def lbfgs(
    problem: AlphaProblem, acceptance: list[int], gradient_scale: float, progress: Callable[[int], None]
) -> AlphaTrajectory:
    """
    `lbfgs`: at most S iterations of SciPy's L-BFGS-B without bounds, all on the judged rows, as a line search needs
    one function.

    Each iteration takes one forward and backward pass, or several where its line search goes on. It ends before S
    where the gradient vanishes or nothing is gained any more, and has then fewer values. The line search finds the
    step size: `learning_rate` does not matter.
    """
    settings = problem.settings
    objective_at: dict[bytes, float] = {}

    def total(point: np.ndarray) -> tuple[float, np.ndarray]:
        alpha = torch.tensor(point)
        value, gradient = problem.objective_and_gradient(alpha, acceptance)
        objective_at[point.tobytes()] = value
        return value + problem.penalty(alpha), (gradient + problem.penalty_gradient(alpha)).numpy()

    start = problem.start()
    if settings.steps == 0:
        return AlphaTrajectory(start, [problem.objective(start, acceptance)], True, gradient_scale)
    iterates = [start.numpy().tobytes()]

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        iterates.append(intermediate_result.x.tobytes())
        progress(len(iterates) - 1)

    result = minimize(
        total, start.numpy(), jac=True, method="L-BFGS-B", callback=after_iteration,
        options={"maxiter": settings.steps},
    )  # fmt: skip
    return AlphaTrajectory(torch.tensor(result.x), [objective_at[point] for point in iterates], True, gradient_scale)


def direct_search(
    problem: AlphaProblem, acceptance: list[int], gradient_scale: float, progress: Callable[[int], None]
) -> AlphaTrajectory:
    """
    `gradient_free`: about S·(n + 1) evaluations of n unknowns on the judged rows by SciPy's DIRECT; the best is taken.

    DIRECT (Jones, Perttunen, Stuckman 1993; locally biased: Gablonsky, Kelley 2001) is deterministic and divides the
    box start ± S · `learning_rate`, the reach of S steps of that size, from its centre outwards. Unlike a simplex or a
    linear model it does not stop on the plateaus of a metric. A step is as many evaluations as finite differences
    would take, n + 1; the last division may take some more. Of equally good α the first is taken: the start, where
    nothing is better.
    """
    settings = problem.settings
    start, per_step = problem.start(), len(problem.layout) + 1
    tried: list[tuple[float, float, Tensor]] = []

    def total(point: np.ndarray) -> float:
        alpha = torch.tensor(point) if tried else start  # DIRECT begins with the centre, up to its last bit
        objective = problem.objective(alpha, acceptance)
        value = objective + problem.penalty(alpha)
        tried.append((value if math.isfinite(value) else math.inf, objective, alpha))
        if len(tried) % per_step == 0:
            progress(min(len(tried) // per_step, settings.steps))
        return tried[-1][0]

    def best(number: int) -> tuple[float, float, Tensor]:
        return min(tried[:number], key=lambda trial: trial[0])

    if settings.steps == 0 or len(start) == 0:
        total(start.numpy())
        return AlphaTrajectory(start, [tried[0][1]], True, gradient_scale)
    reach = settings.steps * settings.learning_rate
    direct(
        total, [(value - reach, value + reach) for value in start.tolist()],
        maxfun=settings.steps * per_step, maxiter=settings.steps * per_step, vol_tol=0,
    )  # fmt: skip
    ends: Sequence[int] = [1, *(1 + step * per_step for step in range(1, settings.steps)), len(tried)]
    return AlphaTrajectory(best(len(tried))[2], [best(end)[1] for end in ends], True, gradient_scale)


ALPHA_OPTIMIZERS: dict[str, AlphaOptimizer] = {
    "sgd": gradient_descent,
    "adam": gradient_descent,
    "lbfgs": lbfgs,
    "gradient_free": direct_search,
}
