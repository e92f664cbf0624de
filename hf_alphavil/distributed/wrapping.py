"""DDP's wrapper around a model, over all processes or over those of a group."""

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
    Lets accelerate wrap a model in DDP although an evaluation before training has prepared it.

    accelerate would take the bare model for prepared and leave it without DDP: ranks would drift apart silently.

    Args:
        model (`torch.nn.Module`): The bare model.
    """
    model._is_accelerate_prepared = False  # type: ignore[assignment]
    if "_original_forward" in vars(model):
        model.forward = vars(model).pop("_original_forward")


def wrap_for_group(model: nn.Module, groups: PhaseGroups, accelerator: Accelerator, timeout: timedelta) -> nn.Module:
    """
    Prepares a model whose processes exchange gradients within their group alone. Called by all processes.

    Args:
        model (`torch.nn.Module`): The bare model; all processes take the first's parameters and buffers.
        groups (`PhaseGroups`): Several groups.
        accelerator (`accelerate.Accelerator`): Trainer's; it prepares all but DDP.
        timeout (`datetime.timedelta`): How long a process waits for another of its group.

    Returns:
        `torch.nn.Module`: In DDP, or bare where a group is one process.
    """
    model = accelerator.prepare_model(model, evaluation_mode=True)
    for tensor in [*model.parameters(), *model.buffers()]:
        sent = tensor.data.contiguous()
        dist.broadcast(sent, 0)  # as DDP does, over all groups
        tensor.data.copy_(sent)
    process_group = groups.connect(timeout)
    if process_group is None:
        return model
    devices = None if accelerator.device.type == "cpu" else [accelerator.device]
    kwargs = accelerator.ddp_handler.to_kwargs() if accelerator.ddp_handler is not None else {}
    return nn.parallel.DistributedDataParallel(model, devices, process_group=process_group, **kwargs)
