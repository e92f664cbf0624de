"""The optimizer `secant` of α: logits that are linear in α, from forward passes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .alpha_optimizer_base import AlphaOptimizer, AlphaTrajectory, Progress
from .alpha_problem import AlphaProblem
from .linear_logits import LinearLogits
from .logit_losses import LogitLoss, Units, recognize_loss
from .meta_rows import MAX_ACCEPTANCE_ROWS
from .objective import Objective, Predictions, mean_loss
from .ridge_choice import RidgeFit, fit_with_ridge


class Secant(AlphaOptimizer):
    """
    `secant`: solves for α on logits that are linear in it, on the first 512 rows. Ours, beyond the paper.

    The logits at α and with each value of α moved by `PROBE` times its start give z(α') ≈ z(α) + Σ (α'_t − α_t)·J_t,
    in n + 1 forward passes for n values of α and without a backward pass. The mean loss of these logits is convex in
    α', as the loss is convex in the logits. Newton steps find its minimum within `steps` · `learning_rate` of the
    start of α and within its bounds (which the probes may leave), plus the penalty and a ridge λ·Σ(α' − start)²
    (averaged over groups, as the penalty is), for which cross-validation over the rows chooses λ ([`fit_with_ridge`]).

    One more pass measures the proposed α' on the model itself. While the target's loss is greater than at α, the way
    to α' is halved, up to `HALVINGS` times in an epoch. If α' is still worse, α falls back to its start, as with every
    optimizer.

    Where logits bend, another round follows, from α': if the losses of the model and of the linear logits at α' differ
    by more than `AGREEMENT` of what has been gained so far. It changes nothing if its fit prefers the start. There are
    at most `ROUNDS` rounds, and at most S; the α of the last one stands. An epoch takes n + 2 forward passes, and
    where logits bend at most 2n + 6.

    The details are `alpha_ridge` (λ; `None` if no λ is better than the start), `alpha_standard_error` by task
    ([`standard_errors`]), `alpha_forward_passes`, `alpha_linearizations` (rounds) and `alpha_reached_limit` (whether
    another round would have followed). With one α per task, the fit also says what each delta saves each row, on the
    linear logits, under the α of a fit that has not seen the row.

    Args:
        steps (`int`): α steps of an epoch, S.
        learning_rate (`float`): Reach of one step.
    """

    max_unknowns = 32
    unread: ClassVar[tuple[str, ...]] = ("alpha_batch_size", "alpha_tolerance")
    ends_early = True

    #: The move that probes a value of α, in units of its start. In fits of a MiniLM encoder to 96 rows, −½ predicted
    #: the loss at random α in [0, 2] as well as −¼ and −1 or better, better than moves away from 0, and as well as the
    #: central difference of ±½, which takes twice the passes.
    PROBE = -0.5
    ROUNDS = 2
    HALVINGS = 3
    AGREEMENT = 0.1
    #: The most numbers that the linear logits may have, over all values of α.
    MAX_NUMBERS = 2**22

    #: Rows that are looked at before training.
    LOOKED_AT = 8

    def __init__(self, steps: int, learning_rate: float) -> None:
        super().__init__(steps)
        self.learning_rate = learning_rate

    def check(self, meta: Objective, rows: Sequence[int], unknowns: int) -> None:
        rows = rows[:MAX_ACCEPTANCE_ROWS]
        first, again = (meta.predictions(rows[: self.LOOKED_AT]) for _ in range(2))
        units = [_loss_of(first).units(batch) for batch in first]
        if not _have_equal_labels(units, [_loss_of(again).units(batch) for batch in again]):
            raise ValueError(
                "alpha_optimizer='secant' compares the losses of rows in several passes, but the target's collator "
                "gives them other labels in each, because it draws from a generator of its own: pass a collator that "
                "draws from the global generators (`DataCollatorForLanguageModeling` without `seed`), or one "
                "that does not draw"
            )
        numbers = sum(of_batch.logits.size for of_batch in units if of_batch) * len(rows) / len(rows[: self.LOOKED_AT])
        if numbers * (unknowns + 1) > self.MAX_NUMBERS:
            raise ValueError(
                f"alpha_optimizer='secant' keeps the target's logits for each of {unknowns} values of α: about "
                f"{numbers * (unknowns + 1):.0f} numbers of {len(rows)} rows, more than {self.MAX_NUMBERS}: pass "
                "alpha_optimizer='lbfgs' or 'sgd'"
            )

    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        passes = 0

        def measure(alpha: Tensor) -> tuple[list[Predictions], float]:
            nonlocal passes
            passes += 1
            predictions = problem.predictions(alpha, problem.search_rows)
            return predictions, mean_loss(predictions)

        alpha, num_groups, reach = problem.start(), problem.shape[1], self.steps * self.learning_rate
        limits = max(-reach, problem.minimum - problem.initial), min(reach, problem.maximum - problem.initial)
        predictions, value = measure(alpha)
        values, kept = [value], None
        rounds = min(self.steps, self.ROUNDS) if math.isfinite(value) else 0
        taken, halvings, reached_limit = 0, 0, False
        for step in range(rounds):
            taken += 1
            move = self.PROBE * problem.initial
            probes = [measure(alpha + move * unit.reshape(problem.shape))[0] for unit in torch.eye(alpha.numel())]
            away = (alpha - problem.initial).flatten().numpy()
            linear = LinearLogits.through(_loss_of(predictions), predictions, probes, move, away)
            fit = fit_with_ridge(linear, problem.l2 / num_groups, limits, problem.initial, seed)
            kept = kept or fit
            proposal = problem.initial + torch.from_numpy(fit.moves).reshape(problem.shape)
            if not math.isfinite(fit.ridge) or torch.equal(proposal, alpha):
                break
            candidate = proposal
            predictions, value = measure(candidate)
            while not value <= values[-1] and halvings < self.HALVINGS:
                halvings += 1
                candidate = (alpha + candidate) / 2
                predictions, value = measure(candidate)
            progress(step + 1)
            is_worse = not value <= values[-1]
            if is_worse and step > 0:
                break  # The last round's α stands.
            expected = linear.unit_losses((candidate - problem.initial).flatten().numpy()).sum()
            alpha, kept = candidate, fit
            values.append(value)
            if is_worse or abs(value - expected) <= self.AGREEMENT * (values[0] - value):
                break
        else:
            reached_limit = rounds > 0
        details = {
            **(_details(problem, kept) if kept else {}),
            "alpha_forward_passes": passes,
            "alpha_linearizations": taken,
            "alpha_reached_limit": reached_limit,
        }
        gains = kept.gains if kept and num_groups == 1 else None  # an unknown is a task's whole delta
        return AlphaTrajectory(alpha, values, details=details, gains=gains)


def _loss_of(predictions: Sequence[Predictions]) -> LogitLoss:
    loss = recognize_loss(predictions)
    if loss is None:
        raise ValueError(
            "alpha_optimizer='secant' needs a loss that is the mean cross-entropy of classes, squared error or binary "
            "cross-entropy of the target's logits, but the model computes another one: pass alpha_optimizer='lbfgs' "
            "or 'sgd'"
        )
    return loss


def _have_equal_labels(first: Sequence[Units | None], second: Sequence[Units | None]) -> bool:
    def labels(units: Sequence[Units | None]) -> list[list[float]]:
        return [[] if of_batch is None else of_batch.labels.tolist() for of_batch in units]

    return labels(first) == labels(second)


def _details(problem: AlphaProblem, fit: RidgeFit) -> dict[str, Any]:
    return {
        "alpha_ridge": fit.ridge * problem.shape[1] if math.isfinite(fit.ridge) else None,
        "alpha_standard_error": _by_task(problem, fit.standard_errors.tolist()),
    }


def _by_task(problem: AlphaProblem, values: Sequence[Any]) -> dict[str, Any]:
    """A value per unknown, by task, and by group of parameters where there are several."""
    groups, of_unknown = problem.deltas.groups, iter(values)
    by_group = {task: {group: next(of_unknown) for group in groups} for task in problem.deltas.phases}
    return by_group if len(groups) > 1 else {task: of_task[groups[0]] for task, of_task in by_group.items()}
