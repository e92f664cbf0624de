"""The α step: coefficients of the deltas that minimise the target's held-out loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..seeding import derive_seed
from .base import Objective
from .deltas import DeltaBank

logger = logging.getLogger(__name__)

#: A step of α is judged on this many meta rows at most.
MAX_JUDGE_ROWS = 512


@dataclass(frozen=True)
class AlphaSettings:
    """
    How α is fitted.

    Args:
        steps (`int`): Gradient steps on α, S.
        learning_rate (`float`): Step size; for `sgd` in units of the largest first gradient of an epoch so far.
        optimizer (`str`): `sgd` or `adam`.
        initial (`float`): Where every α starts in every epoch; above 0.
        batch_size (`int`): Meta rows per step, over all ranks.
        seed (`int`): Seed of the meta batches.
    """

    steps: int
    learning_rate: float
    optimizer: str
    initial: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class AlphaFit:
    """
    The outcome of an α step.

    Args:
        alpha (`dict[str, float]`): α per task.
        meta_loss (`list[float]`):
            S+1 values: the loss of every step's batch before the step, then that of the last batch under the final α.
        judged_loss (`tuple[float, float]`): Loss on the judged meta rows at the start and under the fitted α.
        diverged (`bool`): Whether the fitted α was worse than the start, which then stands.
        gradient_scale (`float`): The unit of `sgd`'s step size, to be passed on to the next epoch.
    """

    alpha: dict[str, float]
    meta_loss: list[float]
    judged_loss: tuple[float, float]
    diverged: bool
    gradient_scale: float


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


def fit_alpha(
    deltas: DeltaBank,
    meta: Objective,
    tasks: Sequence[str],
    settings: AlphaSettings,
    gradient_scale: float = 0.0,
    progress: Callable[[int], None] = lambda step: None,
) -> AlphaFit:
    """
    Fits α by gradient steps on L_*(meta batch; θ0 + Σ α_t δ_t).

    The gradient of one α_t is ⟨∇θ L_*, δ_t⟩ at the merged parameters: an ordinary forward and backward pass and one
    inner product per task. αVIL's α optimisation (arXiv 2405.07769); three rules are ours: the unit of the SGD step
    size (the largest norm of an epoch's first gradient so far in the run: one learning rate fits any loss scale, a run
    whose first deltas did nothing does not blow up later, and small late gradients still make small steps), the
    judgement on the meta set that lets a diverged α fall back to its start, and a fresh α optimizer each epoch.

    Args:
        deltas (`DeltaBank`): θ0 and the deltas; the model holds some combination of them afterwards.
        meta (`Objective`): The target's held-out loss.
        tasks (`Sequence[str]`): All tasks; one that left no delta keeps the start value.
        settings (`AlphaSettings`): Steps, step size, optimizer, start, batch size, seed.
        gradient_scale (`float`, *optional*, defaults to 0.0): The unit of `sgd`'s step size after the epochs before.
        progress (`Callable[[int], None]`, *optional*): Told the number of every finished step.

    Returns:
        `AlphaFit`: α, the losses on the way, and the gradient scale to pass on.
    """
    names = sorted(tasks)
    alpha = torch.full((len(names),), settings.initial, dtype=torch.float64, requires_grad=True)
    optimizer_class = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[settings.optimizer]
    optimizer = optimizer_class([alpha], lr=settings.learning_rate)
    batches = meta_batches(meta.num_rows, settings.batch_size, settings.steps, settings.seed)
    judged = list(range(min(meta.num_rows, MAX_JUDGE_ROWS)))

    def loss_at(values: Sequence[float], rows: Sequence[int]) -> float:
        deltas.combine(dict(zip(names, values, strict=True)))
        return meta.loss(rows)

    meta_loss = []
    for step, rows in enumerate(batches):
        deltas.combine(dict(zip(names, alpha.tolist(), strict=True)))
        loss, products = meta.loss_and_products(rows, deltas.inner_products)
        meta_loss.append(loss)
        gradient = torch.tensor([products.get(name, 0.0) for name in names], dtype=torch.float64)
        if settings.optimizer == "sgd":
            norm = gradient.norm().item()
            if step == 0 and math.isfinite(norm):
                gradient_scale = max(gradient_scale, norm)
            gradient = gradient / (gradient_scale or 1.0)
        alpha.grad = gradient
        optimizer.step()
        progress(step + 1)

    start, end = [settings.initial] * len(names), alpha.tolist()
    last_rows = batches[-1] if batches else judged
    meta_loss.append(loss_at(end, last_rows))
    # Where one batch is the whole judged set, the losses are known already.
    known = bool(batches) and batches[0] == judged
    judged_start = meta_loss[0] if known else loss_at(start, judged)
    judged_end = meta_loss[-1] if known else loss_at(end, judged)
    diverged = not math.isfinite(judged_end) or judged_end > judged_start
    if diverged:
        logger.warning(
            "The α step made the target's held-out loss worse (%.4f → %.4f on %d meta rows): α falls back to its "
            "start of %g for this epoch. Should this happen often, lower `alpha_learning_rate` or hold out more "
            "rows.",
            judged_start,
            judged_end,
            len(judged),
            settings.initial,
        )
    fitted = dict(zip(names, start if diverged else end, strict=True))
    return AlphaFit(
        alpha={task: fitted[task] for task in tasks},
        meta_loss=meta_loss,
        judged_loss=(judged_start, judged_end),
        diverged=diverged,
        gradient_scale=gradient_scale,
    )


def alpha_seed(data_seed: int, epoch: int, target: str) -> int:
    """Seed of an epoch's meta batches: from (data seed, epoch, target)."""
    return derive_seed(data_seed, epoch, target, "meta")
