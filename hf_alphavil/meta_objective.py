"""The target's loss on the meta set, on one process or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .data import TaskDataset
from .sharding import gradients_aside, is_sharded, local_tensor


class TargetObjective:
    """
    L_*: the mean loss of the target's meta rows at the model's present parameters.

    Without dropout, task weight or label smoothing, with frozen batch-norm statistics, in the parameters' dtype (no
    autocast), not compiled. Runs on the bare module: passed through DDP's wrapper, the batches would leave its reducer
    waiting. Ranks take every n-th row and sum the loss and the T inner products, which is all that they exchange if
    the model is not sharded.

    Args:
        model (`torch.nn.Module`): The bare model.
        parameters (`Sequence[torch.nn.Parameter]`): What gradients are taken of.
        dataset (`TaskDataset`): The meta set.
        collator (`Callable`): Collates rows of `dataset`.
        prepare_inputs (`Callable`): Moves a batch to the device.
        accelerator (`accelerate.Accelerator`): For the exchange between ranks.
        micro_batch_size (`int`): Rows per forward pass and rank.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        dataset: TaskDataset,
        collator: Callable[[list[dict[str, Any]]], Any],
        prepare_inputs: Callable[[Any], Any],
        accelerator: Accelerator,
        micro_batch_size: int,
    ) -> None:
        self.model = model
        self.parameters = list(parameters)
        self.dataset = dataset
        self.collator = collator
        self.prepare_inputs = prepare_inputs
        self.accelerator = accelerator
        self.micro_batch_size = micro_batch_size

    @property
    def num_rows(self) -> int:
        """`int`: Rows of the meta set."""
        return len(self.dataset)

    def loss(self, rows: Sequence[int]) -> float:
        """
        Mean loss over meta rows.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.

        Returns:
            `float`: The loss, equal on all ranks.
        """
        with torch.no_grad():
            total = sum(self._losses(rows), torch.zeros((), device=self.accelerator.device))
        return self._sum_over_ranks(total.reshape(1).double())[0]

    def loss_and_products(
        self, rows: Sequence[int], products: Callable[[Sequence[Tensor | None]], dict[str, Tensor]]
    ) -> tuple[float, dict[str, float]]:
        """
        Mean loss over meta rows and inner products of its gradient.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.
            products (`Callable`):
                Linear map from gradients, one per parameter or `None`, to named scalars; of a sharded model, from this
                process's shards of the gradients.

        Returns:
            `tuple[float, dict[str, float]]`: Loss and named scalars, equal on all ranks.
        """
        total, gradients = self._gathered_gradients(rows) if is_sharded(self.model) else self._gradients(rows)
        named = products(gradients)
        names = sorted(named)
        values = torch.stack([total.double(), *(named[name].to(total.device) for name in names)])
        loss_value, *scalars = self._sum_over_ranks(values)
        return loss_value, dict(zip(names, scalars, strict=True))

    def _gradients(self, rows: Sequence[int]) -> tuple[Tensor, list[Tensor | None]]:
        """This rank's share of the mean loss, and its gradient."""
        total = torch.zeros((), device=self.accelerator.device)
        gradients: list[Tensor | None] = [None] * len(self.parameters)
        for loss in self._losses(rows):
            total = total + loss.detach()
            # Not backward(): parameters' .grad and DDP's hooks stay out of it.
            for i, new in enumerate(torch.autograd.grad(loss, self.parameters, allow_unused=True)):
                old = gradients[i]
                gradients[i] = new if old is None or new is None else old + new
        return total, gradients

    def _gathered_gradients(self, rows: Sequence[int]) -> tuple[Tensor, list[Tensor | None]]:
        """This rank's share of the mean loss, and its shard of the whole mean loss's gradient."""
        total = torch.zeros((), device=self.accelerator.device)
        with gradients_aside(self.parameters):
            for loss in self._losses(rows):
                total = total + loss.detach()
                # Not autograd.grad(): the forward pass computes with gathered copies of the parameters, and only
                # FSDP's hooks on backward() bring their gradients to the shards.
                loss.backward()
            # FSDP takes the mean over ranks, whose losses are shares of a sum.
            num_ranks = self.accelerator.num_processes
            gradients = [None if p.grad is None else local_tensor(p.grad) * num_ranks for p in self.parameters]
        return total, gradients

    def _losses(self, rows: Sequence[int]) -> Iterator[Tensor]:
        """
        This rank's share of the mean loss, one micro-batch after another, as many on every rank: the passes of a
        sharded model are collectives. A rank whose rows run out computes a row of another's with weight 0.
        """
        num_ranks = self.accelerator.num_processes
        mine = rows[self.accelerator.process_index :: num_ranks]
        # accelerate patches autocast into `forward`, and only the original is free of it.
        forward = getattr(self.model, "_original_forward", self.model)
        device_type = self.accelerator.device.type
        with _deterministic_mode(self.model):
            for begin in range(0, math.ceil(len(rows) / num_ranks), self.micro_batch_size):
                chunk = mine[begin : begin + self.micro_batch_size]
                inputs = self.prepare_inputs(self.collator([self.dataset[row] for row in chunk or rows[:1]]))
                with (
                    torch.set_grad_enabled(torch.is_grad_enabled()),
                    torch.autocast(device_type, enabled=False),
                    # Compiling the model once more, in evaluation mode, would take longer than the few steps here.
                    torch.compiler.set_stance("force_eager"),
                ):
                    outputs = forward(**inputs)
                loss = outputs["loss"] if isinstance(outputs, dict) else outputs[0]
                yield loss * (len(chunk) / len(rows))

    def _sum_over_ranks(self, values: Tensor) -> list[float]:
        return self.accelerator.reduce(values, reduction="sum").tolist()


@contextmanager
def _deterministic_mode(model: nn.Module) -> Iterator[None]:
    """Switches dropout and batch-norm updates off, but leaves gradient checkpointing on where it is."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for module in model.modules():
        # Checkpointing layers run their checkpoint only in training mode; their children stay in evaluation mode.
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
