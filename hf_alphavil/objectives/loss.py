"""A task's loss and score on a set of rows, on one process or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.trainer_pt_utils import nested_concat

from ..data import TaskDataset
from ..distributed.fsdp import gradients_aside, is_sharded, local_tensor
from ..distributed.gradient_exchange import Gradient, add_gradient, reduce_gradient
from ..methods.objective import Products


class TaskObjective:
    """
    L_t: the mean loss of a task's rows at the model's present parameters; of the target's meta rows, L_*.

    Without dropout, task weight or label smoothing, with frozen batch-norm statistics, in the parameters' dtype (no
    autocast), not compiled. Runs on the bare module: passed through DDP's wrapper, the batches would leave its reducer
    waiting. Ranks take every n-th micro-batch; each one's loss and T inner products are all that they exchange if the
    model is not sharded, and are summed in order of the micro-batches: the same sum, to the last bit, on any number of
    ranks.

    Args:
        model (`torch.nn.Module`): The bare model.
        parameters (`Sequence[torch.nn.Parameter]`): What gradients are taken of.
        dataset (`TaskDataset`): The rows.
        collator (`Callable`): Collates rows of `dataset`.
        prepare_inputs (`Callable`): Moves a batch to the device.
        accelerator (`accelerate.Accelerator`): For the exchange between ranks.
        micro_batch_size (`int`): Rows per forward pass and rank.
        compute_score (`Callable`, *optional*):
            From `EvalPrediction` and the numbers of the rows to the task's main metric, the greater the better.
            Without one, the score is minus the loss.
        label_name (`str`, *optional*, defaults to `"labels"`): The input that holds the labels which it looks at.
        preprocess_logits (`Callable`, *optional*): Trainer's `preprocess_logits_for_metrics`.
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
        compute_score: Callable[[EvalPrediction, Sequence[int]], float] | None = None,
        label_name: str = "labels",
        preprocess_logits: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.model = model
        self.parameters = list(parameters)
        self.dataset = dataset
        self.collator = collator
        self.prepare_inputs = prepare_inputs
        self.accelerator = accelerator
        self.micro_batch_size = micro_batch_size
        self.compute_score = compute_score
        self.label_name = label_name
        self.preprocess_logits = preprocess_logits

    @property
    def num_rows(self) -> int:
        """`int`: Rows of the set."""
        return len(self.dataset)

    @property
    def has_metric(self) -> bool:
        """`bool`: Whether the score is a metric, not minus the loss."""
        return self.compute_score is not None

    def loss(self, rows: Sequence[int]) -> float:
        """
        Mean loss over rows.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.

        Returns:
            `float`: The loss, equal on all ranks.
        """
        with torch.no_grad():
            shares = {number: loss.double().reshape(1) for number, loss in self._losses(rows)}
        return self._sum_in_order(rows, shares, 1)[0]

    def loss_and_products(self, rows: Sequence[int], products: Products) -> tuple[float, Tensor]:
        """
        Mean loss over rows and inner products of its gradient.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.
            products (`Callable`):
                A linear map from gradients, one per parameter or `None`, to one tensor. For a sharded model, the
                gradients are this process's shards.

        Returns:
            `tuple[float, torch.Tensor]`: Loss, and the products of its gradient on the CPU, float64. Equal on all
            ranks.
        """
        shape = products([None] * len(self.parameters)).shape  # a rank may have no rows, and so no gradient
        shares: dict[int, Tensor] = {}
        products_of = self._products_of_shards if is_sharded(self.model) else self._products
        for number, loss, of_gradient in products_of(rows, products):
            shares[number] = torch.cat([loss.double().reshape(1), of_gradient.to(loss.device).flatten()])
        loss_value, *values = self._sum_in_order(rows, shares, 1 + shape.numel())
        return loss_value, torch.tensor(values, dtype=torch.float64).reshape(shape)

    def loss_and_gradient(self, rows: Sequence[int], wanted: Sequence[int] | None = None) -> tuple[float, Gradient]:
        """
        Mean loss over rows and its gradient.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.
            wanted (`Sequence[int]`, *optional*): Numbers of the parameters to take it of. Defaults to all.

        Returns:
            `tuple[float, list[torch.Tensor | None]]`: Loss, and one gradient per parameter, equal on all ranks; `None`
            where the loss does not reach, or the gradient was not wanted.

        Raises:
            NotImplementedError: For a sharded model.
        """
        if is_sharded(self.model):
            raise NotImplementedError("whole gradients of a sharded model are not taken")
        numbers = range(len(self.parameters)) if wanted is None else wanted
        parameters = [self.parameters[i] for i in numbers]
        total: Gradient = [None] * len(parameters)
        losses: dict[int, Tensor] = {}
        for number, loss in self._losses(rows):
            losses[number] = loss.detach().double().reshape(1)
            add_gradient(total, torch.autograd.grad(loss, parameters, allow_unused=True))
        value = self._sum_in_order(rows, losses, 1)[0]
        whole: Gradient = [None] * len(self.parameters)
        for i, part in zip(numbers, reduce_gradient(total, parameters, self.accelerator, "sum"), strict=True):
            whole[i] = part
        return value, whole

    def score(self, rows: Sequence[int]) -> float:
        """
        The task's main metric over rows, the greater the better; minus the mean loss where the task has no metric.

        Args:
            rows (`Sequence[int]`): Row numbers; the same on all ranks.

        Returns:
            `float`: The score, equal on all ranks.
        """
        if self.compute_score is None:
            return -self.loss(rows)
        with torch.no_grad():
            own = [
                (number, self._predictions(inputs, outputs)[:length], _to_numpy(inputs[self.label_name])[:length])
                for number, inputs, outputs, length in self._outputs(rows)
            ]
        everywhere = sorted(gather_object(own), key=lambda part: part[0])
        # Of a sharded model, a rank whose micro-batches have run out only joins the forward pass.
        logits, labels = (
            # Rows of tokens are as long as the longest of their micro-batch: filled up as Trainer fills them up.
            reduce(nested_concat, parts)
            for parts in zip(*((logits, labels) for _, logits, labels in everywhere if len(labels)), strict=True)
        )
        return self.compute_score(EvalPrediction(predictions=logits, label_ids=labels), rows)

    def _predictions(self, inputs: Mapping[str, Any], outputs: Any) -> np.ndarray:
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[1]
        if self.preprocess_logits is not None:
            logits = self.preprocess_logits(logits, inputs[self.label_name])
        return _to_numpy(logits)

    def _products(self, rows: Sequence[int], products: Products) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number, share of the mean loss and its gradient's products, of every micro-batch of this rank."""
        for number, loss in self._losses(rows):
            # Not backward(): parameters' .grad and DDP's hooks stay out of it. One gradient is alive at a time.
            yield number, loss.detach(), products(torch.autograd.grad(loss, self.parameters, allow_unused=True))

    def _products_of_shards(self, rows: Sequence[int], products: Products) -> Iterator[tuple[int, Tensor, Tensor]]:
        """0, this rank's share of the mean loss, and the products of its shard of the whole mean loss's gradient."""
        total = torch.zeros((), device=self.accelerator.device)
        with gradients_aside(self.parameters):
            for _, loss in self._losses(rows):
                total = total + loss.detach()
                # Not autograd.grad(): the forward pass computes with gathered copies of the parameters, and only
                # FSDP's hooks on backward() bring their gradients to the shards.
                loss.backward()
            # FSDP takes the mean over ranks, whose losses are shares of a sum.
            num_ranks = self.accelerator.num_processes
            gradients = [None if p.grad is None else local_tensor(p.grad) * num_ranks for p in self.parameters]
        yield 0, total, products(gradients)

    def _losses(self, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Number and share of the mean loss of every micro-batch of this rank."""
        for number, _, outputs, length in self._outputs(rows):
            yield number, self._loss(outputs) * (length / len(rows))

    def _loss(self, outputs: Any) -> Tensor:
        """The mean loss of a micro-batch."""
        return loss_of(outputs)

    def _inputs(self, rows: Sequence[int]) -> Any:
        """What the model is given of a micro-batch."""
        return self.prepare_inputs(self.collator([self.dataset[row] for row in rows]))

    def _outputs(self, rows: Sequence[int]) -> Iterator[tuple[int, Any, Any, int]]:
        """Number, inputs, outputs and number of rows that count, of every micro-batch of this rank."""
        num_ranks = self.accelerator.num_processes
        passes = self._num_chunks(rows)
        if is_sharded(self.model):
            # Its passes are collectives: a rank whose micro-batches have run out joins with a weight of 0.
            passes = math.ceil(passes / num_ranks) * num_ranks
        with deterministic_mode(self.model):
            for number in range(self.accelerator.process_index, passes, num_ranks):
                chunk = rows[number * self.micro_batch_size :][: self.micro_batch_size]
                inputs = self._inputs(chunk or rows[:1])
                yield number, inputs, plain_forward(self.model, self.accelerator, inputs), len(chunk)

    def _num_chunks(self, rows: Sequence[int]) -> int:
        return math.ceil(len(rows) / self.micro_batch_size)

    def _sum_in_order(self, rows: Sequence[int], shares: Mapping[int, Tensor], width: int) -> list[float]:
        """Sums vectors of this rank's micro-batches, of shape `(width,)`, over all micro-batches of all ranks."""
        by_chunk = torch.zeros(self._num_chunks(rows), width, dtype=torch.float64, device=self.accelerator.device)
        for number, share in shares.items():
            if number < len(by_chunk):
                by_chunk[number] = share
        # Of a model that is not sharded, every entry is one rank's alone, so that this sum has no order.
        return self.accelerator.reduce(by_chunk, reduction="sum").sum(dim=0).tolist()


def loss_of(outputs: Any) -> Tensor:
    """`torch.Tensor`: The loss in a model's outputs: a dict's `loss`, or what a tuple starts with."""
    return outputs["loss"] if isinstance(outputs, dict) else outputs[0]


def plain_forward(model: nn.Module, accelerator: Accelerator, inputs: Mapping[str, Any]) -> Any:
    """
    A forward pass of the bare module as methods need it to compare parameters: without autocast and compilation; in
    [`deterministic_mode`], which is to last until the backward pass has run.

    Args:
        model (`torch.nn.Module`): The bare model.
        accelerator (`accelerate.Accelerator`): Trainer's.
        inputs (`Mapping[str, Any]`): The model's inputs, on its device.
    """
    # accelerate patches autocast into `forward`, and only the original is free of it.
    forward = getattr(model, "_original_forward", model)
    with (
        torch.autocast(accelerator.device.type, enabled=False),
        # Compiling the model once more, in evaluation mode, would take longer than the few steps here.
        torch.compiler.set_stance("force_eager"),
    ):
        return forward(**inputs)


@contextmanager
def deterministic_mode(model: nn.Module) -> Iterator[None]:
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


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
