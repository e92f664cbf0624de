"""Learning rates by position in the plan."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


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
