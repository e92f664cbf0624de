"""What a checkpoint says of the optimizer, so that no state is loaded into another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

#: How the update is computed, not what it is.
_IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable", "lr", "initial_lr")


def parameter_names(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """
    Names of an optimizer's parameters, in the order in which the optimizer numbers them.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer.
        model (`torch.nn.Module`): The model. Parameters that are not the model's are named by their number.
    """
    return [name for group in _names_by_group(optimizer, model) for name in group]


def describe_optimizer(optimizer: Optimizer, scheduler: Any, model: nn.Module) -> dict[str, Any]:
    """
    Describes an optimizer by values that JSON can hold.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer.
        scheduler (`Any`): Its learning-rate schedule.
        model (`torch.nn.Module`): The model.

    Returns:
        `dict`: Its class and options, the schedule's class, and the names of the parameters by group.
    """
    options = {key: value for key, value in optimizer.defaults.items() if key not in _IMPLEMENTATION}
    groups = optimizer.param_groups
    return {
        "optimizer": type(optimizer).__name__,
        "schedule": type(getattr(scheduler, "scheduler", scheduler)).__name__,
        "options": {key: value for key, value in options.items() if _is_plain(value)},
        "learning rates": [group["initial_lr"] for group in groups if _is_plain(group.get("initial_lr", ()))],
        "weight decay": [group["weight_decay"] for group in groups if "weight_decay" in group],
        "parameters": _names_by_group(optimizer, model),
    }


def _names_by_group(optimizer: Optimizer, model: nn.Module) -> list[list[str]]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        [known.get(id(p), f"(parameter {i} of group {number})") for i, p in enumerate(group["params"])]
        for number, group in enumerate(optimizer.param_groups)
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def check_optimizer(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """
    Checks that a checkpoint's optimizer state belongs to this optimizer.

    Args:
        theirs (`Mapping`): The description in the checkpoint.
        mine (`Mapping`): The description of the run's optimizer.

    Raises:
        ValueError: If they differ.
    """
    for name, value in json.loads(json.dumps(mine)).items():
        if theirs[name] != value:
            raise ValueError(
                f"the checkpoint was written with another optimizer: {name} {theirs[name]}, this run has {value}. "
                "Pass the optimizer that the run began with, or start a new run from the checkpoint's model"
            )
