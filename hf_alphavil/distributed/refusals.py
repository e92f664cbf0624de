"""Checks that refuse unsupported launches before training starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from accelerate.utils import DynamoBackend, str_to_bool
from torch import nn
from torch.distributed.fsdp import CPUOffloadPolicy
from transformers import PreTrainedModel, TrainingArguments

from ..modeling import unwrap_peft
from .fsdp import is_sharded

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState


NO_DEEPSPEED = (
    "DeepSpeed is not supported: it trains a separate float32 copy of the parameters, which θ0 + Σ α δ would not "
    "update. Launch with DDP (`accelerate launch --config_file configs/ddp.yaml`) or, if the model is too large for "
    "DDP, with FSDP2 (configs/fsdp2.yaml)"
)


def refuse_deepspeed_launch() -> None:
    """
    Refuses `accelerate launch --use_deepspeed` before accelerate asks to install the package.

    Raises:
        ValueError: If the launcher asks for DeepSpeed.
    """
    if str_to_bool(os.environ.get("ACCELERATE_USE_DEEPSPEED", "false")):
        raise ValueError(NO_DEEPSPEED)


def check_sharding(state: AcceleratorState) -> None:
    """
    Refuses all sharding except accelerate's FSDP2, and options of FSDP2 that are not tested with θ0 + Σ α δ.

    Args:
        state (`accelerate.state.AcceleratorState`): The state of the accelerator that is about to shard.

    Raises:
        ValueError: Under FSDP1, or with an untested option of FSDP2.
    """
    plugin = getattr(state, "fsdp_plugin", None)
    if plugin is None:
        return
    if plugin.fsdp_version != 2:
        raise ValueError(
            "FSDP1 is not supported: it flattens parameters, but deltas are per parameter. Use FSDP2: pass "
            "`--fsdp_version 2` to `accelerate launch`, as configs/fsdp2.yaml does"
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
            f"FSDP2 with {', '.join(unsupported)} is not supported: turn it off, as configs/fsdp2.yaml does, or "
            "launch with DDP (configs/ddp.yaml)"
        )


def check_adapters(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses adapters under FSDP2, because merging and exporting them there is not tested.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: If the model is a `peft.PeftModel` under FSDP2.
    """
    if accelerator.is_fsdp2 and unwrap_peft(model) is not model:
        raise ValueError("adapters are not supported under FSDP2: launch with DDP (configs/ddp.yaml)")


def check_dtypes(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses parameters of several dtypes under FSDP2, which shards only parameters of one dtype together.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: If there are several.
    """
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})
    if accelerator.is_fsdp2 and len(dtypes) > 1:
        raise ValueError(
            f"the model has parameters in {' and '.join(dtypes)}, which FSDP2 does not shard together: load it with "
            "dtype=torch.float32, or launch with DDP (configs/ddp.yaml)"
        )


def check_tied_weights(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses, under FSDP2, heads that share their weight with the input embeddings.

    accelerate 1.15 shards the input embeddings separately, and torch can shard a weight only once.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: If a head of masked language modelling is tied to the input embeddings under FSDP2.
    """
    if not accelerator.is_fsdp2 or not isinstance(model, PreTrainedModel):
        return
    weight = getattr(model.get_input_embeddings(), "weight", None)
    tied = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    if len(tied) > 1:
        raise ValueError(
            f"{tied[-1]} is the weight of the input embeddings, which FSDP2 shards separately: leave tasks of masked "
            "language modelling out, or launch with DDP (configs/ddp.yaml)"
        )


def check_evaluation(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Refuses, under FSDP2, to evaluate a model that is not sharded yet.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The model to evaluate.

    Raises:
        ValueError: If it is called before `train()` under FSDP2.
    """
    if accelerator.is_fsdp2 and not is_sharded(model):
        raise ValueError(
            "accelerate's FSDP2 shards a model only together with its optimizer, so evaluation works only after "
            "`train()` in the same process. To evaluate or predict without training, launch with configs/single.yaml "
            "or configs/ddp.yaml"
        )


def check_setup(args: TrainingArguments) -> None:
    """
    Refuses launches and settings that multitask training does not support.

    Args:
        args (`TrainingArguments`): The settings.

    Raises:
        ValueError: Under DeepSpeed or `nn.DataParallel`, if the launched processes are not connected, or if a setting
            would break the order of a plan.
    """
    if args.deepspeed or getattr(args, "deepspeed_plugin", None) is not None:
        raise ValueError(NO_DEEPSPEED)
    launched = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if launched > 1 and args.world_size == 1:
        raise ValueError(
            f"{launched} processes were launched, but they are not connected, so each would train a separate model. "
            "On CPUs pass --use_cpu to the script (`use_cpu=True`), which connects them with gloo"
        )
    if args.n_gpu > 1:  # in a distributed launch every process has one GPU
        raise ValueError(
            f"this process sees {args.n_gpu} GPUs and would use nn.DataParallel, which is not supported: use "
            "`accelerate launch`, or make one GPU visible with CUDA_VISIBLE_DEVICES=0"
        )
    config = args.accelerator_config
    for name in ("split_batches", "dispatch_batches"):
        if getattr(config, name, None):
            raise ValueError(f"accelerator_config.{name} would mix the batches of the plan's steps: turn it off")
    if args.ignore_data_skip:
        raise ValueError(
            "ignore_data_skip would resume the epoch's plan at its start instead of the checkpoint's step: turn it off"
        )
