"""What a checkpoint says of the optimizer, so that no state is loaded into another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from .resume_rules import differences

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
    schedule = getattr(scheduler, "scheduler", scheduler)  # without accelerate's wrapper
    groups = optimizer.param_groups
    return {
        "optimizer": type(optimizer).__name__,
        "schedule": type(schedule).__name__,
        "learning rates": [group["initial_lr"] for group in groups if _is_plain(group.get("initial_lr", ()))],
        "parameters": _names_by_group(optimizer, model),
    }


def describe_groups(optimizer: Any) -> list[dict[str, Any]]:
    """
    The options of an optimizer's groups of parameters. A schedule may change them at every step.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer, with or without accelerate's wrapper.
    """
    return [_options(group) for group in optimizer.param_groups]


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _IMPLEMENTATION and _is_plain(value)}


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
    found = differences(theirs, json.loads(json.dumps(mine)))
    if found:
        told = found["optimizer"] if "optimizer" in found else "; ".join(found.values())  # its options are others, too
        raise ValueError(
            f"the checkpoint was written with another optimizer: {told}. "
            "Pass the optimizer and the schedule that the run began with, or start a new run from the checkpoint's "
            "model"
        )
