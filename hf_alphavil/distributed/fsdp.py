"""FSDP2: a model whose parameters each process holds a shard of, and what else has to know it."""

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
    """`bool`: Whether FSDP2 has sharded the model, which happens when Trainer prepares it for training."""
    return isinstance(model, FSDPModule)


def local_tensor(tensor: Tensor) -> Tensor:
    """This process's shard of a sharded tensor, sharing its memory; any other tensor as it is."""
    return cast(DTensor, tensor.detach()).to_local() if isinstance(tensor, DTensor) else tensor


def sharded_like(local: Tensor, parameter: Tensor) -> Tensor:
    """
    Inverse of [`local_tensor`] for what has a parameter's shape: optimizer state, deltas.

    Args:
        local (`torch.Tensor`): This process's shard, or the whole where `parameter` is not sharded.
        parameter (`torch.Tensor`): Says how the tensor is sharded.

    Raises:
        ValueError: If `local` has not the shape of the parameter's shard.
    """
    if not isinstance(parameter, DTensor):
        return local
    if local.shape != local_tensor(parameter).shape:
        raise ValueError(
            f"a shard of shape {tuple(local.shape)} does not fit this process's shard of a parameter, "
            f"{tuple(local_tensor(parameter).shape)}: the model is sharded in another way than when it was saved"
        )
    local = local.to(parameter.device)
    # Without a check that would compare the shards of all processes: it is a collective per tensor.
    return DTensor.from_local(
        local,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def drop_gathered(model: nn.Module) -> None:
    """
    Makes the next forward pass of a sharded model gather its parameters anew; nothing to do for any other model.

    To be called before parameters are written: FSDP2 keeps the root's gathered parameters after a forward pass without
    a backward pass, and the next forward pass would still compute with them.

    Args:
        model (`torch.nn.Module`): The model.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Takes the parameters' `.grad` away for the time of a `with` block, and puts it back after."""
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
    Refuses layouts in which a sum over processes would not meet every element of a parameter once.

    Args:
        named_parameters (`Iterable[tuple[str, torch.nn.Parameter]]`): Trainable parameters of a sharded model.
        num_processes (`int`): Number of processes.

    Raises:
        ValueError: If a parameter is not sharded over all processes.
    """
    for name, parameter in named_parameters:
        if not isinstance(parameter, DTensor) or parameter.device_mesh.size() != num_processes:
            raise ValueError(
                f"parameter {name} is not sharded over all {num_processes} processes: leave `fsdp_ignored_modules` "
                "out and use no `parallelism_config`, or freeze the parameter"
            )
        if not all(placement.is_shard() for placement in parameter.placements):
            raise ValueError(
                f"parameter {name} is replicated over groups of processes (HSDP), which is not supported: use no "
                "`parallelism_config`"
            )


# ---- accelerate's plugin


def shard_on_cpus(args: TrainingArguments) -> None:
    """
    Lets the `Accelerator` that is about to be created shard on CPUs too.

    accelerate 1.15 looks at its FSDP plugin for GPUs and the like alone: on CPUs the same launch is DDP, and nothing
    says so. torch's `fully_shard`, which the plugin calls, runs on CPUs with gloo. So the processes bear the name
    under which accelerate looks at the plugin; device and backend are set by then and stay.

    Args:
        args (`TrainingArguments`): They ask for FSDP, or `accelerate launch` does by the environment.
    """
    asked_for = args.fsdp or str_to_bool(os.environ.get("ACCELERATE_USE_FSDP", "false"))
    state = args.distributed_state
    if asked_for and state is not None and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def prepare_plugin(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Sets accelerate's FSDP plugin, if it is in use, for the model that is about to be sharded.

    Mixed precision is left to autocast, as under DDP: the plugin's policy would also round what the α step computes,
    whose judgement hangs on the fourth digit of a loss.

    Where the user has not named the layers to wrap, the plugin is kept from sharding the input embeddings twice.
    accelerate 1.15 gives the input embeddings a group of their own. Among the classes that the library names for the
    other groups is, in BERT and its kin, the module around them (`BertEmbeddings`), and torch fails on the second
    sharding ("Invariant encountered: value was None when it should not be").

    Args:
        accelerator (`accelerate.Accelerator`): Its plugin is changed.
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
    """Writes a sharded model in the form in which Trainer loads it again. Called by all processes."""
    save_fsdp_model(accelerator.state.fsdp_plugin, accelerator, model, output_dir, adapter_only=True)
