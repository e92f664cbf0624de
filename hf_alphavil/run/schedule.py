"""Learning rates of a plan's steps: by position in the plan, or those of Trainer's scheduler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..distributed.fsdp import local_tensor


class PositionedSchedule:
    """
    Reads a `LambdaLR` at any (fractional) position, so that all forks of an epoch have the same learning rates.

    Args:
        scheduler (`LambdaLR`): The Trainer's scheduler. Its own step counter is not used.

    Raises:
        ValueError: If the scheduler is not a `LambdaLR`, whose rate is a function of the step alone.
    """

    def __init__(self, scheduler: Any) -> None:
        if not isinstance(scheduler, LambdaLR):
            raise ValueError(
                f"methods with several phases read learning rates by position, which {type(scheduler).__name__} "
                "does not support: pass an `lr_scheduler_type` that is a function of the step, such as linear, "
                "cosine, constant or polynomial (not reduce_lr_on_plateau or greedy), or a torch LambdaLR"
            )
        self.scheduler = scheduler
        self.learning_rate = float(scheduler.get_last_lr()[0])

    def apply(self, optimizer: Optimizer, position: float, weight: float = 1.0) -> None:
        """
        Sets the learning rates of the next step.

        Args:
            optimizer (`torch.optim.Optimizer`): Its parameter groups are written.
            position (`float`): Position on the schedule, in optimizer steps.
            weight (`float`, *optional*, defaults to 1.0): Task weight; the logged `learning_rate` stays unweighted.
        """
        rates = [
            float(base) * factor(position)  # type: ignore[arg-type]  # fractional steps are intended
            for base, factor in zip(self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * weight
        self.learning_rate = float(rates[0])

    def restore(self) -> None:
        """Does nothing: the next step's rates are set anew."""


class TrainerSchedule:
    """
    Leaves the learning rates to Trainer's scheduler, and scales them for one step at a time.

    Args:
        scheduler (`LRScheduler`): The Trainer's scheduler, of any class.
    """

    learning_rate = None

    def __init__(self, scheduler: Any) -> None:
        self._rates: list[tuple[dict[str, Any], Any]] = []

    def apply(self, optimizer: Optimizer, position: float, weight: float = 1.0) -> None:
        """
        Multiplies the learning rates of the next step by the task weight.

        Args:
            optimizer (`torch.optim.Optimizer`): Its parameter groups are written.
            position (`float`): Not used: the scheduler has its own counter.
            weight (`float`, *optional*, defaults to 1.0): Task weight.
        """
        self._rates = [(group, group["lr"]) for group in optimizer.param_groups] if weight != 1.0 else []
        for group, rate in self._rates:
            group["lr"] = rate * weight

    def restore(self) -> None:
        """Takes the weight back after the step, before the scheduler sets the next rates."""
        for group, rate in self._rates:
            group["lr"] = rate


def scale_gradients(parameters: Iterable[nn.Parameter], weight: float) -> None:
    """
    Multiplies clipped gradients by a task weight. Clipping weighted gradients would cancel the weight.

    Args:
        parameters (`Iterable[torch.nn.Parameter]`): The parameters; those without a gradient are left out.
        weight (`float`): The weight.
    """
    torch._foreach_mul_([local_tensor(p.grad) for p in parameters if p.grad is not None], weight)
