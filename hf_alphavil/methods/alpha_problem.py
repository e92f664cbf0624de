"""What the α step minimises: the target's objective as a function of α, plus a penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .deltas import DeltaBank
from .meta_rows import MAX_ACCEPTANCE_ROWS
from .objective import Objective, Predictions


class AlphaProblem:
    """
    L_*(rows; θ0 + Σ α_t δ_t) as a function of α within bounds, plus a penalty on α's distance from its start.

    α has the shape `(tasks, groups)`: a row per task that left a delta, in the order of [`DeltaBank.phases`], and a
    column per group of parameters. The derivative with respect to one α is ⟨∇θ L_*, δ_t⟩ over its group, at the merged
    parameters. All derivatives together take one forward and backward pass, plus one inner product each.

    Values are minimised, whatever the objective. Only this class flips the sign of a metric: [`value`] is minus the
    score, and [`reported`] is the score again.

    Args:
        deltas (`DeltaBank`): θ0 and the deltas. After an evaluation the model holds the merge that was evaluated.
        meta (`Objective`): The target on the meta set.
        objective (`str`, *optional*, defaults to `"loss"`): `loss`, `metric` or `entropy`.
        initial (`float`, *optional*, defaults to 1.0): Start of every α, above 0.
        l1 (`float`, *optional*, defaults to 0.0): Factor of Σ_t |α_t − start| in the penalty.
        l2 (`float`, *optional*, defaults to 0.0): Factor of Σ_t (α_t − start)² in the penalty.
        minimum (`float`, *optional*, defaults to -inf): Least value of every α, at most the start.
        maximum (`float`, *optional*, defaults to inf): Greatest value of every α, at least the start.
        halves (`tuple[list[int], list[int]]`, *optional*):
            Meta rows on which α is fitted, and those on which it is accepted. By default, all rows are both.
    """

    def __init__(
        self,
        deltas: DeltaBank,
        meta: Objective,
        objective: str = "loss",
        initial: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        minimum: float = -math.inf,
        maximum: float = math.inf,
        halves: tuple[list[int], list[int]] | None = None,
    ) -> None:
        self.deltas = deltas
        self.meta = meta
        self.objective = objective
        self.initial = initial
        self.l1 = l1
        self.l2 = l2
        self.minimum = minimum
        self.maximum = maximum
        every_row = list(range(meta.num_rows))
        #: Rows on which α is fitted.
        self.fit_rows, accepting = halves or (every_row, every_row)
        #: Those of them that line searches, DIRECT and `secant` see.
        self.search_rows = self.fit_rows[:MAX_ACCEPTANCE_ROWS]
        #: Rows on which the start and the fitted α are compared.
        self.acceptance_rows = accepting[:MAX_ACCEPTANCE_ROWS]
        self._merged: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """`tuple[int, int]`: Numbers of tasks that left a delta and of groups of parameters."""
        return len(self.deltas.phases), len(self.deltas.groups)

    def start(self) -> Tensor:
        """`torch.Tensor`: The start of α, of shape `(tasks, groups)`, float64."""
        return torch.full(self.shape, self.initial, dtype=torch.float64)

    def clip_(self, alpha: Tensor) -> None:
        """Takes α, in place, to the nearest one within the bounds."""
        alpha.clamp_(self.minimum, self.maximum)

    def merge(self, alpha: Tensor) -> None:
        """
        Sets the model to the merge under α, unless it already is. Nothing else changes the model during an α step.

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
        """
        if self._merged is None or not torch.equal(self._merged, alpha):
            self.deltas.combine(alpha)
            self._merged = alpha.clone()

    def value(self, alpha: Tensor, rows: Sequence[int]) -> float:
        """
        The objective without the penalty.

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
            rows (`Sequence[int]`): Meta rows.

        Returns:
            `float`: What is minimised: the loss, the entropy in nats, or minus the score.
        """
        self.merge(alpha)
        return -self.meta.score(rows) if self.objective == "metric" else self.meta.loss(rows)

    def reported(self, value: float) -> float:
        """`float`: A [`value`] as users read it: the loss, the entropy in nats, or the score."""
        return -value if self.objective == "metric" else value

    def value_and_gradient(self, alpha: Tensor, rows: Sequence[int]) -> tuple[float, Tensor]:
        """
        The objective and its gradient, both without the penalty. A metric has no gradient.

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
            rows (`Sequence[int]`): Meta rows.

        Returns:
            `tuple[float, torch.Tensor]`: The objective, and its gradient of shape `(tasks, groups)`, float64.
        """
        self.merge(alpha)
        return self.meta.loss_and_products(rows, self.deltas.inner_products)

    def predictions(self, alpha: Tensor, rows: Sequence[int]) -> list[Predictions]:
        """
        The target's logits, labels and loss by micro-batch.

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
            rows (`Sequence[int]`): Meta rows.
        """
        self.merge(alpha)
        return self.meta.predictions(rows)

    def penalty(self, alpha: Tensor) -> float:
        """
        l1·Σ|α − start| + l2·Σ(α − start)², summed over tasks and averaged over groups.

        Because of the mean over groups, α that are equal in all groups have the penalty of one α for all parameters.

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
        """
        away = alpha - self.initial
        total = self.l1 * away.abs().sum() + self.l2 * away.square().sum()
        return float(total) / self._num_groups

    def penalty_gradient(self, alpha: Tensor) -> Tensor:
        """`torch.Tensor`: Gradient of [`penalty`], of shape `(tasks, groups)`; 0 at the start."""
        away = alpha - self.initial
        return (self.l1 * away.sign() + 2 * self.l2 * away) / self._num_groups

    def proximal_step_(self, alpha: Tensor, step_size: float) -> None:
        """
        Takes the penalty's proximal step: sets α, in place, to the minimum of |α' − α|²/(2·step_size) + penalty(α').

        Args:
            alpha (`torch.Tensor`): Of shape `(tasks, groups)`.
            step_size (`float`): The step size.
        """
        if self.l1 == self.l2 == 0:
            return
        step_size /= self._num_groups
        away = alpha - self.initial
        away = away.sign() * (away.abs() - step_size * self.l1).clamp(min=0)
        alpha.copy_(self.initial + away / (1 + 2 * step_size * self.l2))

    @property
    def _num_groups(self) -> int:
        return len(self.deltas.groups)
