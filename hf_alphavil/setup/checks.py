"""Set-ups that would go wrong silently, refused or named before training starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DynamoBackend, str_to_bool
from torch import nn
from torch.distributed.fsdp import CPUOffloadPolicy
from transformers import PreTrainedModel

from ..distributed.fsdp import is_sharded
from ..methods import Method, StepMethod
from ..modeling import MultitaskModel, without_adapters

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from ..training_args import MultitaskTrainingArguments

logger = logging.getLogger(__name__)


NO_DEEPSPEED = (
    "DeepSpeed is not supported: it keeps float32 parameters of its own, which θ0 + Σ α δ would not reach. Launch "
    "with DDP (`accelerate launch --config_file configs/ddp.yaml`) or, for a model too large for that, with FSDP2 "
    "(configs/fsdp2.yaml) instead"
)


def refuse_deepspeed_launch() -> None:
    """
    Refuses `accelerate launch --use_deepspeed` before accelerate asks for the package.

    Raises:
        ValueError: If the launcher asks for DeepSpeed.
    """
    if str_to_bool(os.environ.get("ACCELERATE_USE_DEEPSPEED", "false")):
        raise ValueError(NO_DEEPSPEED)


def check_sharding(state: AcceleratorState) -> None:
    """
    Refuses ways of sharding that multitask training does not support: all but accelerate's FSDP2 by itself.

    Args:
        state (`accelerate.state.AcceleratorState`): The state of the accelerator that is about to shard.

    Raises:
        ValueError: Under FSDP1, and for options of FSDP2 under which θ0 + Σ α δ was never seen to be right.
    """
    plugin = getattr(state, "fsdp_plugin", None)
    if plugin is None:
        return
    if plugin.fsdp_version != 2:
        raise ValueError(
            "FSDP1 is not supported: it flattens parameters, and deltas go by parameter. Use FSDP2: pass "
            "`--fsdp_version 2` to `accelerate launch` (configs/fsdp2.yaml does)"
        )
    refused = {
        "fsdp_offload_params": isinstance(plugin.cpu_offload, CPUOffloadPolicy),
        "fsdp_cpu_ram_efficient_loading": plugin.cpu_ram_efficient_loading,
        "fsdp_ignored_modules": plugin.ignored_modules,
        "dynamo_backend (torch_compile)": state.dynamo_plugin.backend != DynamoBackend.NO,
        f"mixed_precision {state.mixed_precision}": state.mixed_precision not in ("no", "bf16"),
        "parallelism_config": getattr(state, "parallelism_config", None),
    }
    if unsupported := [name for name, is_on in refused.items() if is_on]:
        raise ValueError(
            f"FSDP2 with {', '.join(unsupported)} is not supported: leave it off (configs/fsdp2.yaml does), or launch "
            "with DDP (configs/ddp.yaml)"
        )


def check_adapters(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses adapters under FSDP2, which were never seen to be merged and exported right.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: For a `peft.PeftModel` under FSDP2.
    """
    if accelerator.is_fsdp2 and without_adapters(model) is not model:
        raise ValueError("adapters are not supported under FSDP2: launch with DDP (configs/ddp.yaml)")


def check_tied_weights(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses heads that share their weight with the input embeddings under FSDP2.

    accelerate 1.15 gives the input embeddings a group of their own, and torch takes a weight into one group alone.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: For a head of masked language modelling, tied to the embeddings, under FSDP2.
    """
    if not accelerator.is_fsdp2 or not isinstance(model, PreTrainedModel):
        return
    weight = getattr(model.get_input_embeddings(), "weight", None)
    tied = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    if len(tied) > 1:
        raise ValueError(
            f"{tied[-1]} is the weight of the input embeddings, which FSDP2 shards by themselves: leave tasks of "
            "masked language modelling out, or launch with DDP (configs/ddp.yaml)"
        )


def check_evaluation(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses to evaluate a model that FSDP2 is to shard and has not.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The model to evaluate.

    Raises:
        ValueError: Before `train()` under FSDP2.
    """
    if accelerator.is_fsdp2 and not is_sharded(model):
        raise ValueError(
            "accelerate's FSDP2 shards a model only together with its optimizer, so it is evaluated after `train()` "
            "in the same process. To evaluate or predict alone, launch with configs/single.yaml or configs/ddp.yaml"
        )


def check_setup(args: MultitaskTrainingArguments) -> None:
    """
    Refuses launch set-ups that multitask training does not support.

    Args:
        args (`MultitaskTrainingArguments`): The settings.

    Raises:
        ValueError: Under DeepSpeed or `nn.DataParallel`, for processes that do not know of each other, and for
            settings that would break a plan's order.
    """
    if args.deepspeed or getattr(args, "deepspeed_plugin", None) is not None:
        raise ValueError(NO_DEEPSPEED)
    launched = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if launched > 1 and args.world_size == 1:
        raise ValueError(
            f"{launched} processes were launched, but each would train on its own: they share no accelerator. On CPUs "
            "pass --use_cpu to the script (`use_cpu=True`), which connects them with gloo"
        )
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


def check_loss_function(args: MultitaskTrainingArguments, method: type[Method], compute_loss_func: Any) -> None:
    """
    Refuses a loss function of the user's where Trainer would leave it to divide by the accumulation steps, without the
    number of items to do so.

    Args:
        args (`MultitaskTrainingArguments`): For the accumulation steps.
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
