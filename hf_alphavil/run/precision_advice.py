"""Advice to train in bf16 where the device computes it faster."""

from __future__ import annotations

import logging

import torch
from accelerate import Accelerator
from torch import nn

logger = logging.getLogger(__name__)


def advise_bf16(model: nn.Module, accelerator: Accelerator) -> None:
    """
    Logs that a run in float32 would be faster with `--bf16 true`, on a device that computes in bfloat16.

    Args:
        model (`torch.nn.Module`): The model to train.
        accelerator (`accelerate.Accelerator`): For the device and the run's precision.
    """
    is_float32 = {p.dtype for p in model.parameters()} == {torch.float32} and accelerator.mixed_precision == "no"
    if is_float32 and accelerator.is_main_process and (device := fast_bf16(accelerator.device.type)) is not None:
        logger.info(
            "  This run computes in float32. `--bf16 true` keeps float32 weights and computes in bfloat16, for which "
            "%s has instructions of its own",
            device,
        )


def fast_bf16(device_type: str) -> str | None:
    """
    The device in words, if it has instructions for products of bfloat16 matrices; else `None`.

    Args:
        device_type (`str`): A torch device's type.
    """
    if device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "this GPU"
    if device_type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return "this CPU" if torch.cpu.get_capabilities().get("amx_bf16") else None
    return None
