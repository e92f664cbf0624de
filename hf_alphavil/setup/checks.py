"""Checks before training, for models, loss functions and precisions that would otherwise fail silently."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import TrainingArguments

from ..methods import Method, StepMethod
from ..modeling import MultitaskModel
from ..modeling.half_precision import HALF_PRECISION
from ..settings import MultitaskSettings
from ..settings.checks import require

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


def check_precision(accelerator: Accelerator) -> None:
    """
    Refuses fp16 on devices on which accelerate would silently train in float32.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.

    Raises:
        ValueError: For fp16 on a CPU.
    """
    if accelerator.mixed_precision == "fp16" and not accelerator.native_amp:
        raise ValueError(
            f"fp16=True has no effect on the device {accelerator.device.type!r}: accelerate's fp16 autocast and "
            "gradient scaler need a GPU or another accelerator, so training would run in float32. Pass bf16=True or "
            "neither"
        )


def check_method(accelerator: Accelerator, method: type[Method]) -> None:
    """
    Refuses methods that need whole, unscaled gradients if gradients are sharded (FSDP2) or scaled (fp16).

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        method (`type[Method]`): The method.

    Raises:
        ValueError: If such a method would run under FSDP2, or with fp16.
    """
    if not method.needs_whole_gradients:
        return
    if accelerator.is_fsdp2:
        raise ValueError(
            f"method {method.name!r} compares whole gradients, but under FSDP2 each process has only its shard of "
            "them: launch with DDP (configs/ddp.yaml)"
        )
    if accelerator.mixed_precision == "fp16" and issubclass(method, StepMethod):
        raise ValueError(f"method {method.name!r} compares gradients, which fp16 scales: pass bf16=True or neither")


def check_optimizer_steps(args: MultitaskSettings, method: type[Method]) -> None:
    """
    Refuses optimizers that take their step inside the backward pass, where task weights do not reach them.

    Args:
        args (`MultitaskSettings`): For `optim` and `task_weights`.
        method (`type[Method]`): The method.

    Raises:
        ValueError: If the method weights steps and would do so in vain.
    """
    name = str(getattr(args.optim, "value", args.optim))
    is_weighted = method.weighs_steps and (method.changes_weights or args.task_weights is not None)
    if is_weighted or issubclass(method, StepMethod):
        instead = f"one that steps after the backward pass, such as 'adamw_torch': {method.name!r} weights the steps"
        require(args, "optim", name not in ("lomo", "adalomo") and not name.endswith("layerwise"), instead)


def check_scaled_loss(args: MultitaskSettings, method: type[Method], scaled_loss: str | None) -> None:
    """
    Refuses a loss that the user scales for gradient accumulation if steps carry a batch of every task.

    Trainer expects such a loss to be divided by the number of items in the accumulated batches, but does not count the
    items in a batch of several tasks.

    Args:
        args (`MultitaskSettings`): For the accumulation steps.
        method (`type[Method]`): The method.
        scaled_loss (`str`, *optional*): What says that the user's loss is scaled, such as `"compute_loss_func"`.

    Raises:
        ValueError: If there is such a loss, accumulation, and a method whose steps carry a batch of every task.
    """
    if scaled_loss is not None and issubclass(method, StepMethod) and args.gradient_accumulation_steps > 1:
        raise ValueError(
            f"{scaled_loss} with method {method.name!r} and gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps} is not supported: Trainer does not count the items in a batch of "
            f"several tasks, so losses would be {args.gradient_accumulation_steps} times too large. Pass "
            "gradient_accumulation_steps=1, or let the model compute its loss"
        )


def check_parameters(model: nn.Module) -> None:
    """
    Refuses trainable parameters in half precision, because deltas are often smaller than their last bit. Frozen ones
    may have any dtype.

    Args:
        model (`torch.nn.Module`): The model to train.

    Raises:
        ValueError: If no parameter is trainable, or if a trainable parameter is float16 or bfloat16.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameters: unfreeze some (`requires_grad_(True)`)")
    for name, parameter in trainable:
        if parameter.dtype in HALF_PRECISION:
            raise ValueError(
                f"parameter {name} is {parameter.dtype}, in which small deltas are rounded to zero: load the model "
                "with dtype=torch.float32, and pass bf16=True or fp16=True for mixed precision; or freeze it below "
                "float32 adapters and heads (`hf_alphavil.modeling.lora.add_lora`, or "
                "`hf_alphavil.modeling.upcast_trainable` for adapters of your own)"
            )


def check_encoder_decoder(model: MultitaskModel) -> None:
    """
    Checks that the configuration of an encoder-decoder has the tokens that its forward pass inserts or looks for.

    Args:
        model (`MultitaskModel`): The model.

    Raises:
        ValueError: If a token is missing.
    """
    config = model.encoder.config
    if not config.is_encoder_decoder or not hasattr(model.encoder, "decoder"):
        return
    needed = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
    if missing := [name for name in needed if getattr(config, name, None) is None]:
        raise ValueError(
            f"the encoder {config.model_type!r} has a decoder too, whose inputs need {', '.join(missing)}: set "
            f"{'it' if len(missing) == 1 else 'them'} in the encoder's configuration (`config.{missing[0]} = ...`)"
        )


def check_heads(model: MultitaskModel, wanted: Iterable[str], trained: Iterable[str]) -> None:
    """
    Checks that the model has a head for every task, and warns about heads that cannot train.

    Args:
        model (`MultitaskModel`): The model.
        wanted (`Iterable[str]`): Tasks to train or evaluate.
        trained (`Iterable[str]`): Tasks to train.

    Raises:
        ValueError: If a task has no head.
    """
    check_encoder_decoder(model)
    known = list(model.config.tasks)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(
            f"the model has no head for {', '.join(missing)}, only for {', '.join(known)}: build it from the same "
            "tasks with MultitaskModel.from_encoder(..., tasks=tasks)"
        )
    frozen = [name for name in trained if not any(p.requires_grad for p in model.tasks[name].parameters())]
    if frozen:
        logger.warning(
            "The heads of %s have no trainable parameters, so training does not change them. With adapters, make them "
            "trainable by `modules_to_save=hf_alphavil.modeling.head_modules(model)` in the adapter's configuration.",
            ", ".join(frozen),
        )


def warn_of_plain_mode(args: Any) -> None:
    """
    Warns that settings of multitask training have no effect on one plain dataset, which `transformers.Trainer` trains.

    Args:
        args (`TrainingArguments`, *optional*): The arguments.
    """
    if not isinstance(args, MultitaskSettings):
        return
    common = {entry.name for entry in fields(TrainingArguments)}
    changed = [f"{name}={value!r}" for name, value in args.changed().items() if name not in common]
    if changed:
        logger.warning(
            "One plain dataset is trained exactly as by transformers.Trainer, so %s has no effect: pass `tasks`, or "
            "`train_dataset` as a dictionary from each task's name to its dataset",
            ", ".join(changed),
        )
