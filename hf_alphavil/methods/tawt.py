"""TAWT: target-aware weighted training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..data.plan import EpochPlan
from ..data.seeding import derive_seed
from ..distributed.gradient_exchange import Gradient
from .base import Method
from .deltas import DeltaBank
from .joint import joint_phase
from .objective import Objectives
from .options import require
from .record import EpochRecord
from .weights import scaled_to_mean_one

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class TawtOptions:
    """
    Options of [`TAWT`].

    Args:
        weight_learning_rate (`float`, *optional*, defaults to 1.0): η of the mirror descent.
        batch_size (`int`, *optional*, defaults to 64): Training rows per task for a gradient.
    """

    weight_learning_rate: float = 1.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )
        require("batch_size", self.batch_size, self.batch_size > 0, "a positive number of rows")


class TAWT(Method):
    """
    TAWT (Chen, Crammer, He, Roth, Su; ICLR 2022): once per epoch w_t ← w_t·exp(η c_t)/Σ, where c_t = cos(g_*, g_t)
    over the shared parameters and c_* = 1; a batch of task t trains on T·w_t·L_t.

    Each gradient is of one batch of training rows, without dropout. `task_weights` are T·w_t and scale what
    `weight_applies_to` selects. Our reading: cosines are measured at an epoch's end, for the next epoch; the first
    epoch has equal weights, or those of `task_weights`, scaled to Σ w = 1.
    """

    name = "tawt"
    separates_phases = True
    needs_whole_gradients = True
    starts_from_task_weights = True
    weighs_steps = True
    mixes_by_sampling = True
    Options = TawtOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self.task_weights = scaled_to_mean_one(self.task_weights)

    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        num_steps = sum(steps.values())
        return EpochPlan(epoch, (joint_phase(self.args, epoch, num_steps, steps, self.task_weights),), num_steps)

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        if epoch + 1 == self.num_epochs:  # nothing would use the next weights
            return EpochRecord()
        target = self._gradient(objectives, self.args.target_task, epoch)
        cosines = {task: _cosine(target, self._gradient(objectives, task, epoch)) for task in self.auxiliaries}
        cosines[self.args.target_task] = 1.0
        raised = {
            task: weight * math.exp(self.options.weight_learning_rate * cosines[task])
            for task, weight in self.task_weights.items()
        }
        total = math.fsum(raised.values())
        self.task_weights = {task: len(raised) * weight / total for task, weight in raised.items()}
        return EpochRecord(details={"cosines": cosines})

    def _gradient(self, objectives: Objectives, task: str, epoch: int) -> Gradient:
        objective = objectives.training(task)
        seed = derive_seed(self.args.resolved_data_seed, epoch, task, "tawt")
        order = torch.randperm(objective.num_rows, generator=torch.Generator().manual_seed(seed))
        return objective.loss_and_gradient(order[: self.options.batch_size].tolist())[1]


def _cosine(one: Gradient, other: Gradient) -> float:
    """The cosine over the parameters that both losses reach; 0 if a gradient is 0."""
    both = [(a.flatten(), b.flatten()) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if not both:
        return 0.0
    sums = torch.stack([torch.stack([a @ b, a @ a, b @ b]) for a, b in both]).sum(dim=0, dtype=torch.float64)
    product, one_square, other_square = sums.tolist()
    length = math.sqrt(one_square * other_square)
    return product / length if length > 0 else 0.0
