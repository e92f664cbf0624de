"""What the ranks of a run must have in common before the first step."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import ExportableState, TrainerCallback

from ..distributed.agreement import differences_between_ranks, require_equal_ranks
from ..distributed.fsdp import is_sharded

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)

#: Settings that each rank may choose for itself: they act on one process, or only on the first.
LOCAL_SETTINGS = frozenset(
    {
        "local_rank", "log_level", "log_level_replica", "log_on_each_node", "disable_tqdm", "report_to", "run_name",
        "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "debug", "skip_memory_metrics",
        "hub_token", "torch_empty_cache_steps", "optimizer_state_device", "dataloader_pin_memory",
        "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    }
)  # fmt: skip
#: A rank may have callbacks of its own, and ranks may run on different machines.
_COMPARED = ("settings", "rows", "model", "other")


def check_ranks(
    accelerator: Accelerator,
    args: MultitaskSettings,
    fingerprint: Mapping[str, Mapping[str, Any]],
    model: nn.Module,
    parts: Mapping[str, Any],
    callbacks: Iterable[TrainerCallback],
    resume_from_checkpoint: str | bool | None,
) -> None:
    """
    Compares settings, rows, model, functions and start of all ranks. All ranks must call it.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        args (`MultitaskSettings`): This rank's settings.
        fingerprint (`Mapping`): What [`run_fingerprint`] says of its settings, rows and model.
        model (`torch.nn.Module`): Its model, without wrappers for distributed training.
        parts (`Mapping[str, Any]`): Its tokenizer, and its functions, which are compared by their names.
        callbacks (`Iterable[TrainerCallback]`): Its callbacks. Those with a state may stop it.
        resume_from_checkpoint (`str` or `bool`, *optional*): What it resumes from.

    Raises:
        ValueError: On all ranks, if something differs. Under DDP, initial weights may differ: a warning says that all
            ranks take those of rank 0.
    """
    mine = {name: value for part in _COMPARED for name, value in fingerprint[part].items()}
    others = (entry.name for entry in fields(args) if entry.name not in LOCAL_SETTINGS)
    mine |= {name: str(getattr(args, name)) for name in others if name not in mine}
    mine |= {name: _describe(part) for name, part in parts.items()}
    mine["callbacks with a state"] = [
        f"{type(callback).__name__} {callback.state()['args']}"
        for callback in callbacks
        if isinstance(callback, ExportableState)
    ]
    mine["resume_from_checkpoint"] = resume_from_checkpoint or None
    require_equal_ranks(mine)
    if resume_from_checkpoint or is_sharded(model):
        return
    weights = _weights(model)
    if accelerator.is_fsdp2:  # each process would shard its own
        require_equal_ranks(weights)
    elif differences := differences_between_ranks(weights):
        logger.warning(
            "The ranks' initial weights differ (norm of %s): all ranks take those of rank 0. Call "
            "`transformers.set_seed` before you build the model",
            differences[0],
        )


def _describe(part: Any) -> str | None:
    """A tokenizer by what it does to texts and batches; a function, or any other object, by its name."""
    if isinstance(part, PreTrainedTokenizerBase):
        padding = f"padding with {part.pad_token_id} on the {part.padding_side}"
        return f"{type(part).__name__} of {len(part)} tokens, {padding}, truncation on the {part.truncation_side}"
    named = part if hasattr(part, "__qualname__") else type(part)
    return None if part is None else f"{named.__module__}.{named.__qualname__}"


@torch.no_grad()
def _weights(model: nn.Module) -> dict[str, float]:
    """The norm of each parameter and buffer, which differs as soon as the tensor is drawn from another seed."""
    named: dict[str, Tensor] = dict(model.named_parameters())
    named |= {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    norms = torch._foreach_norm(list(named.values()))
    return dict(zip(named, torch.stack([norm.double() for norm in norms]).tolist(), strict=True))
