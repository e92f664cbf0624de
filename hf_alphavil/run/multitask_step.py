"""A multi-task step: one optimizer step on a batch of every task, whose gradients a method weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import Tensor

from ..data import TASK_KEY
from ..data.seeding import derive_seed
from ..distributed.gradient_exchange import Gradient, GradientSum, reduce_gradient
from ..methods.gradients import TaskGradients
from ..methods.step_method import StepMethod
from ..objectives.factory import RunObjectives
from ..objectives.forward import deterministic_mode, loss_of, plain_forward
from ..objectives.loss import TaskObjective
from ..setup.run_context import RunContext
from .state import RunState


class MultitaskStep:
    """
    Gathers the losses and gradients of one optimizer step by task, and lets a [`StepMethod`] weight them.

    The method sees it as its `Step` (hf_alphavil/methods/step_method.py).

    Args:
        context (`RunContext`): The parts of the trainer that the run may use.
        method (`StepMethod`): The run's method.
        state (`RunState`): The run's position and parameters.
        objectives (`RunObjectives`): The target's loss on the meta set.
    """

    def __init__(self, context: RunContext, method: StepMethod, state: RunState, objectives: RunObjectives) -> None:
        self.context = context
        self.method = method
        self.state = state
        self.objectives = objectives
        self.gradients = TaskGradients(state.deltas.parameters)
        self.losses: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._batches: list[dict[str, Any]] = []
        self._is_weighed = self._is_finite = False

    def observe(self, task: str, loss: Tensor, batch: Any) -> None:
        """
        Adds a micro-batch of a task. Its backward pass has run inside `gradients.of(task)`.

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
        """Averages the gradients over ranks and weights them. Called after the step's last micro-batch."""
        accelerator = self.context.accelerator
        self.gradients.exchange(partial(self._over_ranks, reduction="mean"))
        self.state.synchronise_buffers()
        mean = accelerator.reduce(torch.stack(list(self._sums.values())).double(), reduction="mean")
        self.losses = dict(zip(self._sums, mean.tolist(), strict=True))
        # A step with a loss that is not finite stays unweighted: the runner will stop the run.
        self._is_finite = all(map(math.isfinite, self.losses.values()))
        weights = self.method.weigh(self) if self._is_finite else dict.fromkeys(self.losses, 1.0)
        # All ranks take the first one's weights, so that no rounding difference crosses a threshold on one rank only.
        agreed = broadcast(torch.tensor([weights[task] for task in self.losses], dtype=torch.float64).to(mean.device))
        weights = dict(zip(self.losses, agreed.tolist(), strict=True))
        self.gradients.put(weights, weights if self.method.weighs_heads else dict.fromkeys(weights, 1.0))
        self.gradients.clear()
        self.method.count_step(weights)
        self._is_weighed = True

    def finish(self) -> None:
        """Calls the method's `after_step` once the optimizer has taken the step."""
        if self._is_finite:
            self.method.after_step(self)

    def _over_ranks(self, gradient: Gradient, reduction: str) -> Gradient:
        return reduce_gradient(gradient, self.gradients.parameters, self.context.accelerator, reduction)

    # ---- What a method may use

    @property
    def learning_rate(self) -> float:
        """`float`: The step's learning rate η, from the first parameter group."""
        return float(self.state.optimizer.param_groups[0]["lr"])

    @property
    def seed(self) -> int:
        """`int`: A seed derived from (seed, epoch, step)."""
        return derive_seed(self.context.args.seed, self.state.epoch, self.state.step, "method")

    @property
    def meta(self) -> TaskObjective:
        """`TaskObjective`: The target on the meta set."""
        return self.objectives.meta

    def meta_rows(self, count: int) -> list[int]:
        """
        Rows of the meta set, drawn for this step without replacement.

        Args:
            count (`int`): Number of rows. If the meta set does not have more, all its rows are returned in order.
        """
        num_rows = self.meta.num_rows
        if count >= num_rows:
            return list(range(num_rows))
        data_seed = self.context.args.resolved_data_seed
        seed = derive_seed(data_seed, self.state.epoch, self.state.step, "meta")
        return torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))[:count].tolist()

    def recomputed_losses(self) -> dict[str, float]:
        """`dict[str, float]`: The losses of the step's batches at the current parameters, in training mode."""
        context = self.context
        sums = {task: torch.zeros((), dtype=torch.float64, device=context.args.device) for task in self.losses}
        # The training pass has already updated batch-norm statistics with these batches.
        kept = {name: buffer.clone() for name, buffer in context.model.named_buffers()}
        for batch in self._batches:
            with torch.no_grad():
                loss = context.training_loss(batch)
            sums[batch[TASK_KEY]] += loss.double() / context.args.gradient_accumulation_steps
        for name, buffer in context.model.named_buffers():
            buffer.copy_(kept[name])
        mean = context.accelerator.reduce(torch.stack(list(sums.values())), reduction="mean")
        return dict(zip(sums, mean.tolist(), strict=True))

    def recomputed_gradient(self, weights: Mapping[str, float]) -> Gradient:
        """
        ∇ Σ w_t L_t of the step's batches at the current parameters, without dropout; equal on all ranks.

        Args:
            weights (`Mapping[str, float]`): w_t by task.
        """
        context, accelerator = self.context, self.context.accelerator
        scale = context.args.gradient_accumulation_steps * accelerator.num_processes
        total = GradientSum(len(self.gradients.parameters))
        with deterministic_mode(context.model):
            for batch in self._batches:
                outputs = plain_forward(context.model, accelerator, context.prepare_inputs(batch))
                loss = loss_of(outputs) * (weights[batch[TASK_KEY]] / scale)
                if (labels := context.scales.get(batch[TASK_KEY])) is not None:
                    loss = labels.loss(loss)
                total.add_of(loss, self.gradients.parameters)
        return self._over_ranks(total.value, "sum")
