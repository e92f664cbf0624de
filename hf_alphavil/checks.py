"""Set-ups that would go wrong silently, refused or named before training starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import nn

from .modeling import MultitaskModel, without_adapters

if TYPE_CHECKING:
    from .training_args import MultitaskTrainingArguments

logger = logging.getLogger(__name__)


def check_setup(args: MultitaskTrainingArguments) -> None:
    """
    Refuses launch set-ups that multitask training does not support.

    Args:
        args (`MultitaskTrainingArguments`): The settings.

    Raises:
        ValueError: Under DeepSpeed, FSDP or `nn.DataParallel`, and for settings that would break a plan's order.
    """
    if args.deepspeed or getattr(args, "deepspeed_plugin", None) is not None:
        raise ValueError(
            "DeepSpeed is not supported: it keeps float32 parameters of its own, which θ0 + Σ α δ would not reach. "
            "Launch with DDP (`accelerate launch --multi_gpu`) instead"
        )
    if args.fsdp:
        raise ValueError("FSDP is not supported yet: launch with DDP (`accelerate launch --multi_gpu`) instead")
    if args.n_gpu > 1:  # a distributed process sees one
        raise ValueError(
            f"this process sees {args.n_gpu} GPUs and would use nn.DataParallel, which is not supported: use "
            "`accelerate launch`, or make one GPU visible with CUDA_VISIBLE_DEVICES=0"
        )
    config = args.accelerator_config
    for name in ("split_batches", "dispatch_batches"):
        if getattr(config, name, None):
            raise ValueError(f"accelerator_config.{name} would mix the batches of a plan's step: leave it off")
    if args.ignore_data_skip:
        raise ValueError(
            "ignore_data_skip would resume at another place of the epoch's plan than the checkpoint's: leave it off"
        )


def check_precision(accelerator: Accelerator) -> None:
    """
    Refuses fp16 where accelerate would train in float32 without a word.

    Args:
        accelerator (`accelerate.Accelerator`): Trainer's.

    Raises:
        ValueError: For fp16 on a CPU.
    """
    if accelerator.mixed_precision == "fp16" and not accelerator.native_amp:
        raise ValueError(
            f"fp16=True does nothing on the device {accelerator.device.type!r}: accelerate has fp16 autocast and a "
            "gradient scaler for accelerators alone, and training would run in float32. Pass bf16=True, or neither"
        )


def check_parameters(model: nn.Module) -> None:
    """
    Refuses trainable parameters in half precision: deltas are often smaller than their last bit.

    Args:
        model (`torch.nn.Module`): The model to train.

    Raises:
        ValueError: If a trainable parameter is float16 or bfloat16 (of a [`MultitaskModel`], a frozen one too), or if
            none is trainable.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameters: unfreeze some (`requires_grad_(True)`)")
    for name, parameter in trainable:
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"parameter {name} is {parameter.dtype}, in which deltas round away: load the model with "
                "dtype=torch.float32, and pass bf16=True or fp16=True for mixed precision"
            )
    if isinstance(without_adapters(model), MultitaskModel):
        # Its layers do not convert between types, and the α step has no autocast that would.
        for name, parameter in model.named_parameters():
            if parameter.dtype in (torch.float16, torch.bfloat16):
                raise ValueError(
                    f"the frozen parameter {name} is {parameter.dtype}, which the α step could not mix with float32 "
                    "adapters and heads: load the model with dtype=torch.float32"
                )


def check_heads(model: MultitaskModel, wanted: Iterable[str], trained: Iterable[str]) -> None:
    """
    Refuses tasks for which the model has no head, and warns of heads that training would leave as they are.

    Args:
        model (`MultitaskModel`): The model.
        wanted (`Iterable[str]`): Tasks that are to be trained or evaluated.
        trained (`Iterable[str]`): Tasks that are to be trained.

    Raises:
        ValueError: If a task has no head.
    """
    known = list(model.config.tasks)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(
            f"the model has no head for {', '.join(missing)}, only for {', '.join(known)}: build it with "
            "MultitaskModel.from_encoder(..., tasks=tasks) from the same tasks"
        )
    frozen = [name for name in trained if not any(p.requires_grad for p in model.tasks[name].parameters())]
    if frozen:
        logger.warning(
            "The heads of %s have no trainable parameter and stay as they are. With adapters, let them train by "
            "`modules_to_save=hf_alphavil.modeling.head_modules(model)` in the adapter's configuration.",
            ", ".join(frozen),
        )
