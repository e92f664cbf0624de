"""FSDP2: the tensors of a sharded model, and the configuration of accelerate's FSDP plugin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from accelerate.utils import DistributedType, save_fsdp_model, str_to_bool
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, TrainingArguments

# ---- Tensors


def is_sharded(model: nn.Module) -> bool:
    """`bool`: Whether FSDP2 has sharded the model. Trainer shards a model when it prepares it for training."""
    return isinstance(model, FSDPModule)


def local_tensor(tensor: Tensor) -> Tensor:
    """`torch.Tensor`: This process's shard of a sharded tensor, as a view. Other tensors are returned unchanged."""
    return cast(DTensor, tensor.detach()).to_local() if isinstance(tensor, DTensor) else tensor


def sharded_like(local: Tensor, parameter: Tensor) -> Tensor:
    """
    The inverse of [`local_tensor`], for tensors with the shape of a parameter: optimizer states and deltas.

    Args:
        local (`torch.Tensor`): This process's shard, or the whole tensor if `parameter` is not sharded.
        parameter (`torch.Tensor`): The parameter whose sharding the result takes over.

    Returns:
        `torch.Tensor`: The sharded tensor, or `local` if `parameter` is not sharded.

    Raises:
        ValueError: If the shape of `local` is not the shape of the parameter's shard.
    """
    if not isinstance(parameter, DTensor):
        return local
    if local.shape != local_tensor(parameter).shape:
        raise ValueError(
            f"expected a shard of shape {tuple(local_tensor(parameter).shape)}, got {tuple(local.shape)}: the model "
            "is not sharded in the same way as when it was saved"
        )
    local = local.to(parameter.device)
    # `run_check` would compare the shards of all processes, which needs a collective operation per tensor.
    return DTensor.from_local(
        local,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def reshard_parameters(model: nn.Module) -> None:
    """
    Makes the next forward pass of a sharded model gather its parameters again. Does nothing to other models.

    Call it before parameters are overwritten. After a forward pass without a backward pass, FSDP2 keeps the gathered
    parameters of the root module, and the next forward pass would still use them.

    Args:
        model (`torch.nn.Module`): The model.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Sets the parameters' `.grad` to `None` for a `with` block, and restores it at the end."""
    kept = [parameter.grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


def check_all_sharded(named_parameters: Iterable[tuple[str, nn.Parameter]], num_processes: int) -> None:
    """
    Checks that every parameter is sharded over all processes, so that a sum over processes counts each element once.

    Args:
        named_parameters (`Iterable[tuple[str, torch.nn.Parameter]]`): The trainable parameters of a sharded model.
        num_processes (`int`): Number of processes.

    Raises:
        ValueError: If a parameter is not sharded over all processes.
    """
    for name, parameter in named_parameters:
        if not isinstance(parameter, DTensor) or parameter.device_mesh.size() != num_processes:
            raise ValueError(
                f"parameter {name} is not sharded over all {num_processes} processes: remove `fsdp_ignored_modules` "
                "and `parallelism_config`, or freeze the parameter"
            )
        if not all(placement.is_shard() for placement in parameter.placements):
            raise ValueError(
                f"parameter {name} is replicated over process groups (HSDP), which is not supported: remove "
                "`parallelism_config`"
            )


# ---- accelerate's plugin


def enable_fsdp_on_cpus(args: TrainingArguments) -> None:
    """
    Makes FSDP work on CPUs too. Call it before the `Accelerator` is created.

    On CPUs, accelerate 1.15 ignores its FSDP plugin and silently uses DDP, although torch's `fully_shard`, which the
    plugin calls, runs on CPUs with gloo. So this function sets the distributed type to that of GPUs, for which
    accelerate reads the plugin. Device and backend are already set at this point and do not change.

    Args:
        args (`TrainingArguments`):
            The settings. Nothing changes unless they or the environment of `accelerate launch` ask for FSDP.
    """
    asked_for = args.fsdp or str_to_bool(os.environ.get("ACCELERATE_USE_FSDP", "false"))
    state = args.distributed_state
    if asked_for and state is not None and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def configure_fsdp_plugin(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Configures accelerate's FSDP plugin, if it is in use, for the model that is about to be sharded.

    It leaves mixed precision to autocast, as under DDP. The plugin's policy would also round the α step, which depends
    on the fourth digit of a loss.

    Unless the user has set the layers to wrap, it also keeps the plugin from sharding the input embeddings twice.
    accelerate 1.15 shards the input embeddings separately. In BERT and similar models, transformers also lists the
    module around them (`BertEmbeddings`) as a layer to wrap, and torch fails on the second sharding ("Invariant
    encountered: value was None when it should not be").

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator. Its plugin is changed.
        model (`torch.nn.Module`): The model that is about to be sharded.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    names = getattr(model, "_no_split_modules", None)
    if plugin is None:
        return
    plugin.mixed_precision_policy = None
    if not names or plugin.transformer_cls_names_to_wrap is not None:
        return
    embeddings = cast("PreTrainedModel", model).get_input_embeddings()
    holders = {type(m).__name__ for m in model.modules() if any(child is embeddings for child in m.modules())}
    plugin.transformer_cls_names_to_wrap = sorted(set(names) - holders)


def save_sharded_model(accelerator: Accelerator, model: nn.Module, output_dir: str) -> None:
    """
    Writes a sharded model in the format that Trainer loads. All processes must call it.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The sharded model.
        output_dir (`str`): Folder to write to.
    """
    save_fsdp_model(accelerator.state.fsdp_plugin, accelerator, model, output_dir, adapter_only=True)
