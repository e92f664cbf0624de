"""The base class of the optimizers of α, and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from .alpha_problem import AlphaProblem
from .objective import Objective

#: Called with the number of every finished α step.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class AlphaTrajectory:
    """
    An optimizer's path through one epoch's α step.

    Args:
        alpha (`torch.Tensor`): The last α, of shape `(tasks, groups)`.
        values (`list[float]`): The objective before every step, and at the end.
        on_search_rows (`bool`, *optional*, defaults to `True`):
            Whether the first and the last value were measured on the problem's `search_rows`.
        details (`Mapping[str, Any]`, *optional*, defaults to `{}`):
            What else the optimizer found, for the epoch's history; JSON-serialisable.
        gains (`np.ndarray` of shape `(tasks, rows)`, *optional*):
            What each delta saves each acceptance row, if the optimizer knows it ([`leave_one_out`]).
    """

    alpha: Tensor
    values: list[float]
    on_search_rows: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)
    gains: np.ndarray | None = None


class AlphaOptimizer(ABC):
    """
    Minimises an [`AlphaProblem`].

    Args:
        steps (`int`): α steps of an epoch, S.
    """

    #: The most values of α that it can fit, if there is a limit.
    max_unknowns: ClassVar[int | None] = None
    #: Settings of α that have no effect with it.
    unread: ClassVar[tuple[str, ...]] = ()

    #: Whether it may take fewer steps than it is given, whatever the settings are.
    ends_early: ClassVar[bool] = False

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @abstractmethod
    def minimize(self, problem: AlphaProblem, seed: int, progress: Progress) -> AlphaTrajectory:
        """
        Runs one epoch's α step, from the problem's start.

        Args:
            problem (`AlphaProblem`): What to minimise.
            seed (`int`): Seed of the meta batches.
            progress (`Callable[[int], None]`): Called with the number of every finished step.

        Returns:
            `AlphaTrajectory`: The last α and the objective's values.
        """

    def check(self, meta: Objective, rows: Sequence[int], unknowns: int) -> None:
        """
        Called before training, when the model is ready, to refuse losses that the optimizer cannot minimise.

        Args:
            meta (`Objective`): The target on the meta set.
            rows (`Sequence[int]`): The meta rows on which α is fitted.
            unknowns (`int`): Number of values of α.

        Raises:
            ValueError: If it cannot. The message says what to pass instead.
        """
        return

    def state_dict(self) -> dict[str, Any]:
        """`dict`: What the optimizer keeps from epoch to epoch, JSON-serialisable."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        return
