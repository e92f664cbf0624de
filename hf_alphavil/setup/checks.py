"""Models, losses and precisions that would go wrong silently, refused or named before training starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..methods import Method, StepMethod
from ..modeling import MultitaskModel, unwrap_peft

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings
logger = logging.getLogger(__name__)


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


def check_method(accelerator: Accelerator, method: type[Method]) -> None:
    """
    Refuses methods that look at whole gradients where a process has only its shards, or scaled ones.

    Args:
        accelerator (`accelerate.Accelerator`): Trainer's.
        method (`type[Method]`): The method.

    Raises:
        ValueError: For such a method under FSDP2 or with fp16.
    """
    if not method.needs_whole_gradients:
        return
    if accelerator.is_fsdp2:
        raise ValueError(
            f"method {method.name!r} compares whole gradients, of which each process has a shard under FSDP2: launch "
            "with DDP (configs/ddp.yaml)"
        )
    if accelerator.mixed_precision == "fp16" and issubclass(method, StepMethod):
        raise ValueError(f"method {method.name!r} compares gradients, which fp16 scales: pass bf16=True, or neither")


def check_loss_function(args: MultitaskSettings, method: type[Method], compute_loss_func: Any) -> None:
    """
    Refuses a loss function of the user's where Trainer would leave it to divide by the accumulation steps, without the
    number of items to do so.

    Args:
        args (`MultitaskSettings`): For the accumulation steps.
        method (`type[Method]`): The method.
        compute_loss_func (`Callable`, *optional*): The function.

    Raises:
        ValueError: With accumulation, for methods whose steps carry a batch of every task.
    """
    if compute_loss_func is not None and issubclass(method, StepMethod) and args.gradient_accumulation_steps > 1:
        raise ValueError(
            f"compute_loss_func with method {method.name!r} and gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps}: Trainer counts no items in a batch of several tasks, so that losses "
            "would be that many times too large. Pass gradient_accumulation_steps=1, or let the model compute its loss"
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
    if isinstance(unwrap_peft(model), MultitaskModel):
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
