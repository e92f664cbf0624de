"""A task's loss and score on a set of rows, on one or more processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from transformers import EvalPrediction
from transformers.trainer_pt_utils import nested_concat

from ..data import TaskDataset
from ..data.generators import repeated_draws
from ..distributed.fsdp import is_sharded, local_tensor, without_gradients
from ..distributed.gradient_exchange import Gradient, GradientSum, reduce_gradient
from ..methods.objective import Predictions, Products
from ..setup.label_scale import LabelScale
from .forward import deterministic_mode, loss_of, plain_forward


class TaskObjective:
    """
    L_t, the mean loss of a task's rows at the model's current parameters. On the target's meta set it is L_*.

    The loss is computed without dropout, task weight, label smoothing or compilation, and with frozen batch-norm
    statistics. Gradients and sums are in the parameters' precision. Passes run on the bare module, because DDP's
    reducer would wait for their backward pass.

    Rank r of n takes the micro-batches r, r + n, … Losses are summed in the order of the micro-batches, so the mean
    loss is the same, bit for bit, on any number of ranks. Gradients are summed over a rank's micro-batches and then,
    or their inner products, over ranks. On all ranks of a run the sums are equal, bit for bit. On another number of
    ranks they are equal up to rounding, unless a single micro-batch holds all rows.

    Args:
        model (`torch.nn.Module`): The bare model.
        parameters (`Sequence[torch.nn.Parameter]`): The parameters with respect to which gradients are taken.
        dataset (`TaskDataset`): The rows.
        collator (`Callable`): Collates rows of `dataset`.
        prepare_inputs (`Callable`): Moves a batch to the device.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator, for the exchange between ranks.
        micro_batch_size (`int`): Rows per forward pass and rank.
        compute_score (`Callable`, *optional*):
            Computes the task's main metric, greater is better, from an `EvalPrediction` and the indices of its rows.
            Without it, the score is minus the loss.
        label_name (`str`, *optional*, defaults to `"labels"`): The input whose labels `compute_score` reads.
        preprocess_logits (`Callable`, *optional*): Trainer's `preprocess_logits_for_metrics`.
        order (`Callable`, *optional*):
            Puts rows into the order in which micro-batches take them, such as by length. Defaults to their own.
        autocast (`bool`, *optional*, defaults to `False`): Whether passes are autocast to bfloat16.
        scale (`LabelScale`, *optional*): The scale of a regression's labels. The loss is then that of standardised
            labels, and predictions are on their scale; scores are not.
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
        order: Callable[[Sequence[int]], Sequence[int]] = lambda rows: rows,
        autocast: bool = False,
        scale: LabelScale | None = None,
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
        self.order = order
        self.autocast = autocast
        self.scale = scale

    @property
    def num_rows(self) -> int:
        """`int`: Number of rows in the dataset."""
        return len(self.dataset)

    @property
    def has_metric(self) -> bool:
        """`bool`: Whether the score is a metric. Otherwise it is minus the loss."""
        return self.compute_score is not None

    def loss(self, rows: Sequence[int]) -> float:
        """
        Mean loss over rows.

        Args:
            rows (`Sequence[int]`): Indices of the rows, the same on all ranks.

        Returns:
            `float`: The loss, equal on all ranks.
        """
        with torch.no_grad():
            return self._mean_loss(rows, dict(self._losses(rows)))

    def local_loss(self, rows: Sequence[int]) -> Tensor:
        """
        Mean loss over the rows of one micro-batch, on this process alone.

        Args:
            rows (`Sequence[int]`): Indices of the rows.
        """
        with deterministic_mode(self.model):
            return self._loss(self._forward(self._inputs(rows)))

    def loss_and_products(self, rows: Sequence[int], products: Products) -> tuple[float, Tensor]:
        """
        Mean loss over rows, and inner products of its gradient.

        Each rank takes the products once, of the sum of its micro-batches' gradients, and ranks exchange only these
        products and the losses.

        Args:
            rows (`Sequence[int]`): Indices of the rows, the same on all ranks.
            products (`Callable`):
                A linear map from gradients, one per parameter or `None`, to one tensor. Under FSDP2 the gradients are
                this process's shards.

        Returns:
            `tuple[float, torch.Tensor]`: The loss, and `products` of its gradient, in float64 on the CPU. Both are
            equal on all ranks.
        """
        gradient_of = self._gradient_of_shards if is_sharded(self.model) else self._gradient
        losses, gradient = gradient_of(rows, self.parameters)
        of_rank = {self.accelerator.process_index: products(gradient)}
        return self._mean_loss(rows, losses), self._sum_in_order(of_rank, self.accelerator.num_processes).cpu()

    def loss_and_gradient(self, rows: Sequence[int], wanted: Sequence[int] | None = None) -> tuple[float, Gradient]:
        """
        Mean loss over rows and its gradient.

        Args:
            rows (`Sequence[int]`): Indices of the rows, the same on all ranks.
            wanted (`Sequence[int]`, *optional*):
                Indices of the parameters with respect to which the gradient is taken. Defaults to all.

        Returns:
            `tuple[float, list[torch.Tensor | None]]`: The loss, and one gradient per parameter, or `None` where the
            loss does not depend on the parameter or the parameter is not in `wanted`. Both are equal on all ranks.

        Raises:
            NotImplementedError: If the model is sharded.
        """
        if is_sharded(self.model):
            raise NotImplementedError("whole gradients of a sharded model are not supported: use DDP instead of FSDP2")
        indices = range(len(self.parameters)) if wanted is None else wanted
        parameters = [self.parameters[i] for i in indices]
        losses, total = self._gradient(rows, parameters)
        value = self._mean_loss(rows, losses)
        whole: Gradient = [None] * len(self.parameters)
        for i, part in zip(indices, reduce_gradient(total, parameters, self.accelerator, "sum"), strict=True):
            whole[i] = part
        return value, whole

    def score(self, rows: Sequence[int]) -> float:
        """
        The task's main metric over rows, or minus the mean loss if the task has no metric. Greater is better.

        Args:
            rows (`Sequence[int]`): Indices of the rows, the same on all ranks.

        Returns:
            `float`: The score, equal on all ranks; NaN if a logit is NaN, whatever class it gives.
        """
        if self.compute_score is None:
            return -self.loss(rows)
        own, has_nan, rows = [], False, self.order(rows)
        with torch.no_grad():
            for index, inputs, outputs, length in self._outputs(rows):
                has_nan = has_nan or _has_nan(logits_of(outputs))
                labels = to_numpy(inputs[self.label_name])[:length]
                own.append((index, self._predictions(inputs, outputs)[:length], labels))
        everywhere = gather_object([(own, has_nan)])
        if any(has_nan for _, has_nan in everywhere):
            return math.nan
        gathered = sorted((part for parts, _ in everywhere for part in parts), key=lambda part: part[0])
        # If the model is sharded, a rank with no micro-batches left joins the forward pass but contributes no rows.
        logits, labels = (
            # Token rows are padded to the longest of their micro-batch. Concatenation pads them as Trainer does.
            reduce(nested_concat, parts)
            for parts in zip(*((logits, labels) for _, logits, labels in gathered if len(labels)), strict=True)
        )
        score = self.compute_score(EvalPrediction(predictions=logits, label_ids=labels), rows)
        return broadcast_object_list([score])[0]  # a metric may be random

    def predictions(self, rows: Sequence[int]) -> list[Predictions]:
        """
        Logits, labels and the model's own loss of rows.

        Args:
            rows (`Sequence[int]`): Indices of the rows, the same on all ranks.

        Returns:
            `list[Predictions]`: By micro-batch, in their order, equal on all ranks.

        Raises:
            ValueError: If the rows have no labels of this name, or if the logits are not one tensor.
        """
        own, in_order = [], self.order(rows)
        with torch.no_grad():
            for index, inputs, outputs, length in self._outputs(rows):
                logits, labels = logits_of(outputs), inputs.get(self.label_name)
                if not (isinstance(logits, Tensor) and isinstance(labels, Tensor)):
                    raise ValueError(f"the model's logits and the labels {self.label_name!r} must be one tensor each")
                of_batch = list(in_order[index * self.micro_batch_size :][:length])
                loss = self._loss(outputs).item()
                predicted, wanted = to_numpy(logits), to_numpy(labels)
                if self.scale is not None:
                    predicted, wanted = self.scale.standardized(predicted), self.scale.standardized(wanted)
                own.append((index, Predictions(of_batch, predicted, wanted, loss)))
        everywhere = sorted((part for parts in gather_object([own]) for part in parts), key=lambda part: part[0])
        return [prediction for _, prediction in everywhere if prediction.rows]

    def _predictions(self, inputs: Mapping[str, Any], outputs: Any) -> np.ndarray:
        logits = logits_of(outputs)
        if self.preprocess_logits is not None:
            logits = self.preprocess_logits(logits, inputs[self.label_name])
        return to_numpy(logits)

    def _gradient(self, rows: Sequence[int], parameters: Sequence[nn.Parameter]) -> tuple[dict[int, Tensor], Gradient]:
        """This rank's shares of the mean loss, by micro-batch, and their sum's gradient."""
        losses: dict[int, Tensor] = {}
        total = GradientSum(len(parameters))
        for index, loss in self._losses(rows):
            losses[index] = loss.detach()
            total.add_of(loss, parameters)
        return losses, total.value

    def _gradient_of_shards(
        self, rows: Sequence[int], parameters: Sequence[nn.Parameter]
    ) -> tuple[dict[int, Tensor], Gradient]:
        """This rank's shares of the mean loss, by micro-batch, and its shards of the mean loss's gradient."""
        losses: dict[int, Tensor] = {}
        with without_gradients(parameters):
            for index, loss in self._losses(rows):
                losses[index] = loss.detach()
                # Not autograd.grad(): the forward pass uses gathered copies of the parameters, and only FSDP's hooks
                # on backward() reduce their gradients to the shards.
                loss.backward()
            # FSDP averages over ranks, but the ranks' losses are shares of a sum.
            num_ranks = self.accelerator.num_processes
            return losses, [None if p.grad is None else local_tensor(p.grad) * num_ranks for p in parameters]

    def _losses(self, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yields the index and share of the mean loss of each micro-batch of this rank."""
        for index, _, outputs, length in self._outputs(rows):
            yield index, self._loss(outputs) * (length / len(rows))

    def _loss(self, outputs: Any) -> Tensor:
        """The mean loss of a micro-batch."""
        loss = loss_of(outputs)
        return loss if self.scale is None else self.scale.loss(loss)

    def _inputs(self, rows: Sequence[int]) -> Any:
        """The model's inputs for a micro-batch, the same in every pass, so that losses of merges can be compared."""
        with repeated_draws(rows):
            batch = self.collator(self.dataset.__getitems__(rows))
        return self.prepare_inputs(batch)

    def _forward(self, inputs: Mapping[str, Any]) -> Any:
        return plain_forward(self.model, self.accelerator, inputs, self.autocast)

    def _outputs(self, rows: Sequence[int]) -> Iterator[tuple[int, Any, Any, int]]:
        """Yields the index, inputs, outputs and number of rows that count of each micro-batch of this rank."""
        num_ranks = self.accelerator.num_processes
        passes, rows = self._num_micro_batches(rows), self.order(rows)
        if is_sharded(self.model):
            # Passes are collective, so a rank with no micro-batches left joins with a weight of 0.
            passes = math.ceil(passes / num_ranks) * num_ranks
        with deterministic_mode(self.model):
            for index in range(self.accelerator.process_index, passes, num_ranks):
                micro_batch = rows[index * self.micro_batch_size :][: self.micro_batch_size]
                inputs = self._inputs(micro_batch or rows[:1])
                yield index, inputs, self._forward(inputs), len(micro_batch)

    def _num_micro_batches(self, rows: Sequence[int]) -> int:
        return math.ceil(len(rows) / self.micro_batch_size)

    def _mean_loss(self, rows: Sequence[int], shares: Mapping[int, Tensor]) -> float:
        """Sums the micro-batches' shares of the mean loss over all ranks."""
        return self._sum_in_order(shares, self._num_micro_batches(rows)).item()

    def _sum_in_order(self, parts: Mapping[int, Tensor], num_parts: int) -> Tensor:
        """
        Sums tensors of equal shapes in the order of their indices, in float64, on all ranks.

        Args:
            parts (`Mapping[int, torch.Tensor]`): This rank's tensors. An index is on one rank only; without any, the
                tensors are scalars.
            num_parts (`int`): Number of indices. Tensors with greater ones do not count.
        """
        shape = next(iter(parts.values())).shape if parts else ()
        by_index = torch.zeros(num_parts, *shape, dtype=torch.float64, device=self.accelerator.device)
        for index, part in parts.items():
            if index < num_parts:
                by_index[index] = part
        # Only one rank has a nonzero entry at each index, so the sum over ranks is exact.
        return self.accelerator.reduce(by_index, reduction="sum").sum(dim=0)


def logits_of(outputs: Any) -> Any:
    """The logits in a model's outputs that include a loss: `logits` in a dict, the second entry of a tuple."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs[1]


def _has_nan(logits: Any) -> bool:
    return isinstance(logits, Tensor) and bool(torch.isnan(logits).any())


def to_numpy(tensor: Tensor) -> np.ndarray:
    """`np.ndarray`: A tensor's values, on the CPU."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()  # NumPy has no bfloat16
