"""Starts the heads of regressions on the scale of their labels."""

from __future__ import annotations

import logging

import torch

from ..data.generators import unchanged_generators
from ..distributed.fsdp import reshard_parameters
from ..modeling.output_layer import output_layer
from ..objectives.factory import RunObjectives
from ..setup.run_context import RunContext

logger = logging.getLogger(__name__)

#: Training rows, spread evenly, on which a head is compared with itself on the labels' scale.
ROWS_COMPARED = 64


def scale_new_heads(context: RunContext, objectives: RunObjectives) -> None:
    """
    Turns a new head, whose predictions z are about as large as standardised labels, into spread · z + mean.

    No model remembers which heads are new. So a head's output layer is scaled if that lowers the loss on training
    rows, and left as it was otherwise: it would spoil a head that has been trained, and a head that already predicts
    numbers of the labels' size needs no change. Call it at the start of a run, not when one resumes.

    Args:
        context (`RunContext`): The run's model, and the scales of the regressions' labels.
        objectives (`RunObjectives`): The tasks' losses on their training rows.
    """
    model = context.accelerator.unwrap_model(context.model)
    for task, scale in context.scales.items():
        layer = output_layer(model, task)
        if layer is None or layer.bias is None:
            logger.warning(
                "The head of task %r starts at its own scale, not that of its labels, because no trained linear layer "
                "of one output with a bias was found in it.",
                task,
            )
            continue
        objective = objectives.training(task)
        count = min(ROWS_COMPARED, objective.num_rows)
        rows = [number * objective.num_rows // count for number in range(count)]
        with unchanged_generators(), torch.no_grad():
            before = objective.loss(rows)
            reshard_parameters(model)
            weight, bias = layer.weight.clone(), layer.bias.clone()
            layer.weight.mul_(scale.spread)
            layer.bias.mul_(scale.spread).add_(scale.mean)
            if not objective.loss(rows) < before:
                reshard_parameters(model)
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
