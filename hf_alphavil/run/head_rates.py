"""Learning rates of the heads of regressions, on the scale of their labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..modeling.output_layer import output_layer
from ..setup.label_scale import LabelScale

logger = logging.getLogger(__name__)

#: Optimizers whose steps are equally large whatever the unit of the loss.
UNIT_FREE: tuple[type[Optimizer], ...] = (
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
)
#: The key of a group of parameters that names its task.
TASK_OF_GROUP = "regression"


def scale_head_rates(optimizer: Optimizer, model: nn.Module, scales: Mapping[str, LabelScale]) -> None:
    """
    Makes steps on a head that predicts labels what steps on a head that predicts standardised labels would be.

    Weight and bias of an output layer are spread times those of that head, and their gradients are 1/spread times
    theirs. So they move to groups of their own, with another learning rate, weight decay and ε. Schedules and task
    weights multiply the learning rates of all groups alike.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer, before a schedule is made for it. Optimizers of other
            classes than SGD and `UNIT_FREE` are left as they are.
        model (`torch.nn.Module`): The model.
        scales (`Mapping[str, LabelScale]`): Scales of labels by task.
    """
    if type(optimizer) not in (torch.optim.SGD, *UNIT_FREE):
        return
    for task, scale in scales.items():
        layer = output_layer(model, task)
        own = set() if layer is None else set(layer.parameters())
        for group in list(optimizer.param_groups):
            if moved := [parameter for parameter in group["params"] if parameter in own]:
                group["params"] = [parameter for parameter in group["params"] if parameter not in own]
                scaled = _scaled(group, type(optimizer), scale.spread)
                optimizer.param_groups.append({**group, **scaled, "params": moved, TASK_OF_GROUP: task})


def _scaled(group: Mapping[str, Any], optimizer_class: type[Optimizer], spread: float) -> dict[str, Any]:
    is_decoupled = group.get("decoupled_weight_decay", False)
    options = {
        "lr": group["lr"] * (spread if optimizer_class in UNIT_FREE else spread**2),
        "weight_decay": group["weight_decay"] / (spread if is_decoupled else spread**2),
    }
    return options | ({"eps": group["eps"] / spread} if "eps" in group else {})


def warn_of_unscaled_rates(optimizer: Any, scales: Mapping[str, LabelScale]) -> None:
    """
    Warns of heads whose steps are not on the scale of their labels.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer, with or without accelerate's wrapper.
        scales (`Mapping[str, LabelScale]`): Scales of labels by task.
    """
    if tasks := set(scales) - {group.get(TASK_OF_GROUP) for group in optimizer.param_groups}:
        logger.warning(
            "The steps of the optimizer on the heads of %s are not on the scale of their labels, whose spread is %s: "
            "let Trainer create the optimizer, with an `optim` such as 'adamw_torch', or choose their learning rates "
            "accordingly.",
            ", ".join(map(repr, sorted(tasks))),
            ", ".join(f"{scales[task].spread:.3g}" for task in sorted(tasks)),
        )
