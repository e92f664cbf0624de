"""The optimizers of α. A run uses one object, which may keep state from epoch to epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .alpha_optimizer_base import AlphaOptimizer, AlphaTrajectory, Progress
from .alpha_problem import AlphaProblem
from .auto_optimizer import FirstThatCan
from .meta_rows import meta_batches
from .objective import Objective
from .secant import Secant

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)


class GradientDescent(AlphaOptimizer):
    """
    `sgd` and `adam`: S gradient steps, each on a batch of meta rows; αVIL's α optimisation (arXiv 2405.07769).

    SGD divides gradients by a unit (our rule): the largest norm of any epoch's first gradient so far (with several
    groups, the norm of its root mean square over groups). One learning rate then fits losses of any scale and any
    number of groups. A run whose first deltas did nothing does not blow up later, and small gradients late in a run
    still make small steps.

    The unit ignores the penalty, because a large penalty would dominate it. After each step along the objective's
    gradient, SGD takes the penalty's proximal step with the same step size. That is stable for any penalty and
    converges to the minimum of objective plus penalty. Adam adds the penalty's gradient to the objective's. Every
    epoch creates a new torch optimizer (ours). Bounds of α project every step.

    With a tolerance, the steps end early once two of them together have lowered objective plus penalty by less than
    this share of its value (ours). Values of different rows cannot be compared, so this needs steps that see the whole
    meta set. The history then has `alpha_steps_taken`. The values are the same on all ranks, and so is the end.

    Args:
        optimizer (`str`): `sgd` or `adam`.
        steps (`int`): α steps of an epoch, S.
        learning_rate (`float`): Step size. `sgd` applies it to the gradient divided by the unit above.
        batch_size (`int`): Meta rows per step, over all ranks.
        tolerance (`float`, *optional*, defaults to 0.0): The share above. With 0, all S steps are taken.
    """

    #: Steps over which a gain is measured: SGD with a fixed step size may go back and forth.
    STEPS_OF_GAIN = 2

    def __init__(
        self, optimizer: str, steps: int, learning_rate: float, batch_size: int, tolerance: float = 0.0
    ) -> None:
        super().__init__(steps)
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.tolerance = tolerance
        #: The unit by which SGD divides gradients; 0 until a gradient is measured.
        self.gradient_unit = 0.0

    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        alpha = problem.start().requires_grad_()
        optimizer_class = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer]
        optimizer = optimizer_class([alpha], lr=self.learning_rate)
        numbers = meta_batches(len(problem.fit_rows), self.batch_size, self.steps, seed)
        batches = [[problem.fit_rows[number] for number in batch] for batch in numbers]
        values: list[float] = []
        totals: list[float] = []
        sees_all_rows = self.batch_size >= len(problem.fit_rows)
        for step, rows in enumerate(batches):
            value, gradient = problem.value_and_gradient(alpha.detach(), rows)
            values.append(value)
            totals.append(value + problem.penalty(alpha.detach()))
            if sees_all_rows and self._no_longer_gains(totals):
                break
            if self.optimizer == "sgd":
                if step == 0:
                    self._observe(gradient)
                unit = self.gradient_unit or 1.0
                alpha.grad = gradient / unit
                optimizer.step()
                problem.proximal_step_(alpha.detach(), self.learning_rate / unit)
            else:
                alpha.grad = gradient + problem.penalty_gradient(alpha.detach())
                optimizer.step()
            problem.clip_(alpha.detach())
            progress(step + 1)
        else:
            values.append(problem.value(alpha.detach(), batches[-1] if batches else problem.search_rows))
        return AlphaTrajectory(
            alpha.detach(),
            values,
            on_search_rows=not batches or batches[0] == problem.search_rows,
            details={"alpha_steps_taken": len(values) - 1} if self.tolerance else {},
        )

    def _no_longer_gains(self, totals: Sequence[float]) -> bool:
        if not self.tolerance or len(totals) <= self.STEPS_OF_GAIN:
            return False
        before = totals[-1 - self.STEPS_OF_GAIN]
        return before - totals[-1] < self.tolerance * abs(before)

    def check(self, meta: Objective, rows: Sequence[int], unknowns: int) -> None:
        if self.tolerance and len(rows) > self.batch_size:
            logger.warning(
                "alpha_tolerance=%g has no effect: α steps see %d of the %d rows on which α is fitted, and losses of "
                "different rows cannot be compared. Pass alpha_batch_size=%d or more.",
                self.tolerance, self.batch_size, len(rows), len(rows),
            )  # fmt: skip

    def _observe(self, first_gradient: Tensor) -> None:
        norm = first_gradient.norm().item() / math.sqrt(first_gradient.shape[1])
        if math.isfinite(norm):
            self.gradient_unit = max(self.gradient_unit, norm)

    def state_dict(self) -> dict[str, Any]:
        return {"gradient_unit": self.gradient_unit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.gradient_unit = state["gradient_unit"]


class LBFGS(AlphaOptimizer):
    """
    `lbfgs`: at most S iterations of SciPy's L-BFGS-B on the first 512 rows.

    All iterations see the same rows, because a line search needs a fixed function. An iteration takes one forward and
    backward pass, or more if its line search needs them. The optimizer stops before S iterations, with fewer values,
    if the gradient vanishes or the objective no longer falls. The line search chooses the step size, so
    `alpha_learning_rate` has no effect.
    """

    unread: ClassVar[tuple[str, ...]] = ("alpha_learning_rate", "alpha_batch_size", "alpha_tolerance")
    ends_early = True

    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        from scipy.optimize import minimize

        value_at: dict[bytes, float] = {}

        def total(point: np.ndarray) -> tuple[float, np.ndarray]:
            alpha = torch.tensor(point).reshape(problem.shape)
            value, gradient = problem.value_and_gradient(alpha, problem.search_rows)
            value_at[point.tobytes()] = value
            return value + problem.penalty(alpha), (gradient + problem.penalty_gradient(alpha)).flatten().numpy()

        start = problem.start()
        if self.steps == 0:
            return AlphaTrajectory(start, [problem.value(start, problem.search_rows)])
        iterates = [start.numpy().tobytes()]

        def after_iteration(intermediate_result: OptimizeResult) -> None:
            iterates.append(intermediate_result.x.tobytes())
            progress(len(iterates) - 1)

        result = minimize(
            total, start.flatten().numpy(), jac=True, method="L-BFGS-B", callback=after_iteration,
            bounds=[(problem.minimum, problem.maximum)] * start.numel(),
            options={"maxiter": self.steps},
        )  # fmt: skip
        alpha = torch.tensor(result.x).reshape(problem.shape)
        return AlphaTrajectory(alpha, [value_at[point] for point in iterates])


class DirectSearch(AlphaOptimizer):
    """
    `gradient_free`: SciPy's DIRECT on the first 512 rows. The result is the best α that it evaluated.

    DIRECT (Jones, Perttunen, Stuckman 1993; locally biased: Gablonsky, Kelley 2001) is deterministic. It divides the
    box start ± S · `learning_rate`, the reach of S steps of that size, from its centre outwards. If the bounds of α
    cut the box, its centre need not be the start, which is then evaluated first. Unlike a simplex or a linear model,
    DIRECT does not stop on the plateaus of a metric. One step means n + 1 evaluations for n values of α, as many as
    finite differences would take; the last division may take a few more. Ties go to the α evaluated first: α stays at
    its start unless something is strictly better.

    Args:
        steps (`int`): α steps of an epoch, S.
        learning_rate (`float`): Reach of one step.
    """

    # With more values of α, so few evaluations would find nothing.
    max_unknowns = 20
    unread: ClassVar[tuple[str, ...]] = ("alpha_batch_size", "alpha_tolerance")

    def __init__(self, steps: int, learning_rate: float) -> None:
        super().__init__(steps)
        self.learning_rate = learning_rate

    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        from scipy.optimize import direct

        start = problem.start()
        per_step = start.numel() + 1
        tried: list[tuple[float, float, Tensor]] = []

        def total(point: np.ndarray) -> float:
            # The centre may differ from the start in the last bits, by rounding.
            alpha = torch.tensor(point).reshape(problem.shape) if tried else start
            value = problem.value(alpha, problem.search_rows)
            penalised = value + problem.penalty(alpha)
            tried.append((penalised if math.isfinite(penalised) else math.inf, value, alpha))
            if len(tried) % per_step == 0:
                progress(min(len(tried) // per_step, self.steps))
            return tried[-1][0]

        def best(number: int) -> tuple[float, float, Tensor]:
            return min(tried[:number], key=lambda trial: trial[0])

        if self.steps == 0:
            return AlphaTrajectory(start, [problem.value(start, problem.search_rows)])
        first, reach = problem.initial, self.steps * self.learning_rate
        low, high = max(first - reach, problem.minimum), min(first + reach, problem.maximum)
        if low > first - reach or high < first + reach:
            total(start.flatten().numpy())
        direct(
            total, [(low, high)] * start.numel(),
            maxfun=self.steps * per_step - len(tried), maxiter=self.steps * per_step, vol_tol=0,
        )  # fmt: skip
        ends = [1, *(1 + step * per_step for step in range(1, self.steps)), len(tried)]
        return AlphaTrajectory(best(len(tried))[2], [best(end)[1] for end in ends])


#: The class of each optimizer by its name in `alpha_optimizer`.
ALPHA_OPTIMIZERS: dict[str, type[AlphaOptimizer]] = {
    "sgd": GradientDescent,
    "adam": GradientDescent,
    "lbfgs": LBFGS,
    "gradient_free": DirectSearch,
    "secant": Secant,
}


def alpha_optimizer_of(args: MultitaskSettings) -> str:
    """
    The optimizer of α that the settings choose.

    `auto` is `gradient_free` for a metric; `sgd` where α is fitted by layer, on an entropy or with an l1 penalty; else
    `secant`, unless the target's loss or the number of tasks does not allow it ([`FirstThatCan`]).

    Args:
        args (`MultitaskSettings`): The settings.
    """
    if args.alpha_optimizer != "auto":
        return args.alpha_optimizer
    if args.alpha_objective == "metric":
        return "gradient_free"
    needs_gradients = args.alpha_objective == "entropy" or args.alpha_granularity == "layer" or args.alpha_l1 > 0
    return "sgd" if needs_gradients else "secant"


def make_alpha_optimizer(args: MultitaskSettings) -> AlphaOptimizer:
    """
    Creates the optimizer that `alpha_optimizer` selects.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    name, steps, rate = alpha_optimizer_of(args), args.alpha_steps, args.alpha_learning_rate
    if name == "lbfgs":
        return LBFGS(steps)
    if name == "gradient_free":
        return DirectSearch(steps, rate)
    if args.alpha_optimizer == "secant":
        return Secant(steps, rate)
    descent = "adam" if name == "adam" else "sgd"
    by_gradients = GradientDescent(descent, steps, rate, args.alpha_batch_size, args.alpha_tolerance)
    if name == "secant":  # by `auto`
        return FirstThatCan((name, Secant(steps, rate)), (descent, by_gradients))
    return by_gradients
