"""The trainable parameters of a model, whole or as this process's shards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

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
        self._known = frozenset(named)
        self.tensors: list[nn.Parameter] = list(named.values())

    def check_complete(self) -> None:
        """
        Checks that no other parameter has become trainable.

        Raises:
            RuntimeError: If one has. It would keep what one phase taught it in the next phase.
        """
        new = [name for name, p in self.model.named_parameters() if p.requires_grad and name not in self._known]
        if new:
            raise RuntimeError(
                f"{len(new)} parameters have become trainable during training ({', '.join(new[:3])}), so that forks "
                "would not start from the same parameters: let them require a gradient when `train()` is called. A "
                "callback may freeze them in `on_train_begin` and unfreeze them later"
            )

    def shards(self) -> list[Tensor]:
        """
        `list[torch.Tensor]`: The parameters or, for a sharded model (FSDP2), this process's shards of them. Read on
        each access, because FSDP2 may move them.
        """
        return [local_tensor(parameter) for parameter in self.tensors]

    def reshard(self) -> None:
        """Makes the next forward pass of a sharded model gather the parameters again. Call it before a change."""
        reshard_parameters(self.model)

    @torch.no_grad()
    def write(self, values: Sequence[Tensor]) -> None:
        """
        Sets all parameters.

        Args:
            values (`Sequence[torch.Tensor]`): One tensor per parameter, of its shard's shape, on any device.
        """
        self.reshard()
        for shard, value in zip(self.shards(), values, strict=True):
            shard.copy_(value)

    def norm(self, order: float) -> Tensor:
        """
        Norm of all parameters, or of this process's shards, as one vector. It is computed without synchronising with
        the device, and is NaN or infinite if a parameter is.

        Args:
            order (`float`): The norm's order.

        Returns:
            `torch.Tensor`: A scalar on the parameters' device.
        """
        shards = [shard for shard in self.shards() if shard.numel() > 0]
        return get_total_norm(shards, order) if shards else torch.zeros((), device=self.tensors[0].device)
