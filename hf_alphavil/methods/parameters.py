"""The trainable parameters of a model, whole or as this process's shards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..distributed.fsdp import local_tensor, reshard_parameters


class TrainableParameters:
    """
    A model's trainable parameters by name, tied ones once.

    Parameters are written in place, so that optimizers, DDP and compiled graphs keep their references.

    Args:
        model (`torch.nn.Module`): The bare model.
    """

    def __init__(self, model: nn.Module) -> None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.model = model
        self.names: list[str] = list(named)
        self.tensors: list[nn.Parameter] = list(named.values())

    def shards(self) -> list[Tensor]:
        """
        `list[torch.Tensor]`: The parameters or, for a sharded model (FSDP2), this process's shards of them. Read on
        each access, because FSDP2 may move them.
        """
        return [local_tensor(parameter) for parameter in self.tensors]

    @torch.no_grad()
    def write(self, values: Sequence[Tensor]) -> None:
        """
        Sets all parameters.

        Args:
            values (`Sequence[torch.Tensor]`): One tensor per parameter, of its shard's shape, on any device.
        """
        reshard_parameters(self.model)
        for shard, value in zip(self.shards(), values, strict=True):
            shard.copy_(value)

    @torch.no_grad()
    def are_finite(self) -> bool:
        """`bool`: Whether the parameters, or this process's shards, hold neither NaN nor infinity."""
        shards = [shard for shard in self.shards() if shard.numel() > 0]
        largest = list(torch._foreach_norm(shards, ord=float("inf"))) if shards else []
        return not largest or bool(torch.isfinite(torch.stack(largest)).all())
