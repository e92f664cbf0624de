"""What the α step minimises: the target's objective as a function of α."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Objective
from .deltas import ALL_PARAMETERS, DeltaBank, product_name

#: The group of the parameters that are not the encoder's. It cannot collide with a module, whose names hold no
#: parentheses.
HEADS = "(heads)"


@dataclass(frozen=True)
class AlphaSettings:
    """
    How α is fitted.

    Args:
        steps (`int`): Steps on α, S.
        learning_rate (`float`): Step size; for `sgd` in units of the largest first gradient of an epoch so far.
        optimizer (`str`): `sgd`, `adam`, `lbfgs` or `gradient_free`.
        objective (`str`): `loss`, `metric` or `entropy`.
        initial (`float`): Where every α starts in every epoch; above 0.
        l1 (`float`): Weight of Σ_t |α_t − start|, which is added to the objective.
        l2 (`float`): Weight of Σ_t (α_t − start)².
        batch_size (`int`): Meta rows per step of `sgd` and `adam`, over all ranks.
        seed (`int`): Seed of the meta batches.
    """

    steps: int
    learning_rate: float
    optimizer: str
    objective: str
    initial: float
    l1: float
    l2: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class AlphaLayout:
    """
    The numbers that are fitted: one per task, or one per task and group of parameters, as a vector.

    Args:
        tasks (`tuple[str, ...]`): Tasks that left a delta.
        groups (`tuple[str, ...]`): Groups of parameters with coefficients of their own; one where there are none.
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tasks) * len(self.groups)

    @property
    def by_layer(self) -> bool:
        """`bool`: Whether every group has a coefficient of its own."""
        return self.groups != (ALL_PARAMETERS,)

    def by_group(self, alpha: Tensor) -> dict[str, dict[str, float]]:
        """`dict[str, dict[str, float]]`: The vector, of shape `(len(self),)`, by task and group."""
        values = iter(alpha.tolist())
        return {task: {group: next(values) for group in self.groups} for task in self.tasks}

    def vector(self, products: Mapping[str, float]) -> Tensor:
        """`torch.Tensor`: Inner products of a gradient with the deltas, in the order of the unknowns, float64."""
        names = [product_name(task, group) for task in self.tasks for group in self.groups]
        return torch.tensor([products.get(name, 0.0) for name in names], dtype=torch.float64)


class AlphaProblem:
    """
    L_*(rows; θ0 + Σ α_t δ_t) as a function of the vector α, and the pull of α towards its start.

    The gradient of one α is ⟨∇θ L_*, δ_t⟩ at the merged parameters, over α's group of parameters: an ordinary forward
    and backward pass and one inner product per α. With one α per group, the pull is the mean over a task's groups: α
    that are equal in all groups are pulled as one α for all would be.

    Args:
        deltas (`DeltaBank`): θ0 and the deltas; the model holds some combination of them after any evaluation.
        meta (`Objective`): The target on the meta set.
        tasks (`Sequence[str]`): All tasks; those that left no delta have no unknown.
        settings (`AlphaSettings`): The settings.
    """

    def __init__(self, deltas: DeltaBank, meta: Objective, tasks: Sequence[str], settings: AlphaSettings) -> None:
        self.deltas = deltas
        self.meta = meta
        self.settings = settings
        self.layout = AlphaLayout(
            tuple(task for task in sorted(tasks) if task in deltas.phases), tuple(deltas.groups) or (ALL_PARAMETERS,)
        )

    def start(self) -> Tensor:
        """`torch.Tensor`: Where α starts, of shape `(unknowns,)`, float64."""
        return torch.full((len(self.layout),), self.settings.initial, dtype=torch.float64)

    def objective(self, alpha: Tensor, rows: Sequence[int]) -> float:
        """`float`: The objective over meta rows, without the pull; of a metric, minus the score."""
        self._combine(alpha)
        return -self.meta.score(rows) if self.settings.objective == "metric" else self.meta.loss(rows)

    def objective_and_gradient(self, alpha: Tensor, rows: Sequence[int]) -> tuple[float, Tensor]:
        """`tuple[float, torch.Tensor]`: The objective over meta rows and its gradient, both without the pull."""
        self._combine(alpha)
        value, products = self.meta.loss_and_products(rows, self.deltas.inner_products)
        return value, self.layout.vector(products)

    def penalty(self, alpha: Tensor) -> float:
        """`float`: l1·Σ|α − start| + l2·Σ(α − start)², over tasks, and the mean over a task's groups."""
        away = alpha - self.settings.initial
        total = self.settings.l1 * away.abs().sum() + self.settings.l2 * away.square().sum()
        return float(total) / len(self.layout.groups)

    def penalty_gradient(self, alpha: Tensor) -> Tensor:
        """`torch.Tensor`: Gradient of the pull, of shape `(unknowns,)`; 0 at the start."""
        away = alpha - self.settings.initial
        return (self.settings.l1 * away.sign() + 2 * self.settings.l2 * away) / len(self.layout.groups)

    def proximal_step_(self, alpha: Tensor, step_size: float) -> None:
        """
        The pull's proximal step, in place: to the minimum of |α' − α|²/(2·step_size) + pull(α').

        Args:
            alpha (`torch.Tensor`): Of shape `(unknowns,)`.
            step_size (`float`): The step size.
        """
        if self.settings.l1 == self.settings.l2 == 0:
            return
        step_size /= len(self.layout.groups)
        away = alpha - self.settings.initial
        away = away.sign() * (away.abs() - step_size * self.settings.l1).clamp(min=0)
        alpha.copy_(self.settings.initial + away / (1 + 2 * step_size * self.settings.l2))

    def _combine(self, alpha: Tensor) -> None:
        values = self.layout.by_group(alpha)
        if self.layout.by_layer:
            self.deltas.combine(values)
        else:
            self.deltas.combine({task: of_task[ALL_PARAMETERS] for task, of_task in values.items()})
