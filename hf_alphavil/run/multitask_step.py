"""A step that carries a batch of every task: what Trainer's loop gathers of it, and what its method may look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import broadcast
from torch import Tensor

from ..data import TASK_KEY
from ..data.seeding import derive_seed
from ..distributed.gradient_exchange import Gradient, add_gradient, reduce_gradient
from ..methods.gradients import TaskGradients
from ..methods.step_method import StepMethod
from ..objectives.loss import TaskObjective, deterministic_mode, loss_of, plain_forward

if TYPE_CHECKING:
    from .runner import PlanRunner


class MultitaskStep:
    """
    Gathers the losses and gradients of one optimizer step by task, and lets a [`StepMethod`] weigh them.

    It serves the method as its `Step` (hf_alphavil/methods/step_method.py).

    Args:
        runner (`PlanRunner`): The run: where it stands, its method, trainer and parameters.
    """

    def __init__(self, runner: PlanRunner) -> None:
        self.runner = runner
        self.trainer = runner.trainer
        self.gradients = TaskGradients(runner.deltas.parameters)
        self.losses: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._batches: list[dict[str, Any]] = []
        self._is_weighed = self._is_finite = False

    @property
    def method(self) -> StepMethod:
        """`StepMethod`: The run's method."""
        return cast(StepMethod, self.runner.method)

    def observe(self, task: str, loss: Tensor, batch: Any) -> None:
        """
        Adds a micro-batch of a task, whose backward pass has run inside `gradients.of(task)`.

        Args:
            task (`str`): The task.
            loss (`torch.Tensor`): Its loss, divided by the accumulation steps.
            batch (`Any`): The model's inputs.
        """
        if self._is_weighed:  # the first micro-batch of the next step
            self._sums, self._batches, self._is_weighed = {}, [], False
        self._sums[task] = self._sums[task] + loss if task in self._sums else loss
        self._batches.append(batch)

    def take(self) -> None:
        """Takes means over ranks and weighs the gradients, once the last micro-batch is there."""
        accelerator = self.trainer.accelerator
        self.gradients.exchange(partial(self._over_ranks, reduction="mean"))
        self.runner.synchronise_buffers()
        mean = accelerator.reduce(torch.stack(list(self._sums.values())).double(), reduction="mean")
        self.losses = dict(zip(self._sums, mean.tolist(), strict=True))
        # One with a loss that is not finite is left unweighted: the runner will stop the run.
        self._is_finite = all(map(math.isfinite, self.losses.values()))
        weights = self.method.weigh(self) if self._is_finite else dict.fromkeys(self.losses, 1.0)
        # The first rank's word holds: a last bit that differs between ranks must not pass a threshold on one alone.
        agreed = broadcast(torch.tensor([weights[task] for task in self.losses], dtype=torch.float64).to(mean.device))
        weights = dict(zip(self.losses, agreed.tolist(), strict=True))
        self.gradients.put(weights, weights if self.method.weighs_heads else dict.fromkeys(weights, 1.0))
        self.gradients.clear()
        self.method.count_step(weights)
        self._is_weighed = True

    def finish(self) -> None:
        """Lets the method look back, once the optimizer has taken the step."""
        if self._is_finite:
            self.method.after_step(self)

    def _over_ranks(self, gradient: Gradient, reduction: str) -> Gradient:
        return reduce_gradient(gradient, self.gradients.parameters, self.trainer.accelerator, reduction)

    # ---- What a method may look at

    @property
    def learning_rate(self) -> float:
        """`float`: η of the step, of the first parameter group."""
        return float(self.trainer.optimizer.param_groups[0]["lr"])

    @property
    def seed(self) -> int:
        """`int`: From (seed, epoch, step)."""
        return derive_seed(self.trainer.args.seed, self.runner.epoch, self.runner.step, "method")

    @property
    def meta(self) -> TaskObjective:
        """`TaskObjective`: The target on the meta set."""
        return self.runner.objectives.meta

    def meta_rows(self, count: int) -> list[int]:
        """
        Rows of the meta set, drawn for this step without replacement.

        Args:
            count (`int`): How many; all of them, in order, where there are fewer.
        """
        num_rows = self.meta.num_rows
        if count >= num_rows:
            return list(range(num_rows))
        args = self.trainer.args
        seed = derive_seed(args.resolved_data_seed, self.runner.epoch, self.runner.step, "meta")
        return torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))[:count].tolist()

    def losses_again(self) -> dict[str, float]:
        """`dict[str, float]`: The losses of the step's batches at the present parameters, in training mode."""
        trainer = self.trainer
        sums = {task: torch.zeros((), dtype=torch.float64, device=trainer.args.device) for task in self.losses}
        model = trainer.accelerator.unwrap_model(trainer.model)
        # The training pass has counted these batches in batch norm's statistics already.
        kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
        for batch in self._batches:
            with torch.no_grad(), trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(model, trainer._prepare_inputs(batch))
            sums[batch[TASK_KEY]] += loss.double() / trainer.args.gradient_accumulation_steps
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
        mean = trainer.accelerator.reduce(torch.stack(list(sums.values())), reduction="mean")
        return dict(zip(sums, mean.tolist(), strict=True))

    def gradient_again(self, weights: Mapping[str, float]) -> Gradient:
        """
        ∇ Σ w_t L_t of the step's batches at the present parameters, without dropout, equal on all ranks.

        Args:
            weights (`Mapping[str, float]`): w_t by task.
        """
        accelerator = self.trainer.accelerator
        scale = self.trainer.args.gradient_accumulation_steps * accelerator.num_processes
        total: Gradient = [None] * len(self.gradients.parameters)
        with deterministic_mode(self.trainer.model):
            for batch in self._batches:
                outputs = plain_forward(self.trainer.model, accelerator, self.trainer._prepare_inputs(batch))
                loss = loss_of(outputs) * (weights[batch[TASK_KEY]] / scale)
                add_gradient(total, torch.autograd.grad(loss, self.gradients.parameters, allow_unused=True))
        return self._over_ranks(total, "sum")
