"""Wraps a model in DDP, over all processes or over one process group."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import nn

from .phase_groups import PhaseGroups

if TYPE_CHECKING:
    from accelerate import Accelerator


def mark_unprepared(model: nn.Module) -> None:
    """
    Makes accelerate wrap a model in DDP even if an evaluation before training has already prepared it.

    Otherwise accelerate would leave the prepared model unwrapped, and the ranks' parameters would silently diverge.

    Args:
        model (`torch.nn.Module`): The bare model.
    """
    model._is_accelerate_prepared = False  # type: ignore[assignment]
    if "_original_forward" in vars(model):
        model.forward = vars(model).pop("_original_forward")


def wrap_for_group(model: nn.Module, groups: PhaseGroups, accelerator: Accelerator, timeout: timedelta) -> nn.Module:
    """
    Prepares a model whose processes exchange gradients only within their group. All processes must call it.

    Args:
        model (`torch.nn.Module`): The bare model. All processes receive the first one's parameters and buffers.
        groups (`PhaseGroups`): The process groups, two or more.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator. It prepares everything except DDP.
        timeout (`datetime.timedelta`): How long a process waits for another of its group.

    Returns:
        `torch.nn.Module`: The model wrapped in DDP, or the bare model if a group is one process.
    """
    model = accelerator.prepare_model(model, evaluation_mode=True)
    for tensor in [*model.parameters(), *model.buffers()]:
        sent = tensor.data.contiguous()
        dist.broadcast(sent, 0)  # as DDP does, but over all groups
        tensor.data.copy_(sent)
    process_group = groups.connect(timeout)
    if process_group is None:
        return model
    devices = None if accelerator.device.type == "cpu" else [accelerator.device]
    kwargs = accelerator.ddp_handler.to_kwargs() if accelerator.ddp_handler is not None else {}
    return nn.parallel.DistributedDataParallel(model, devices, process_group=process_group, **kwargs)
