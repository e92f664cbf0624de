"""Sums gradients, as lists of tensors, over micro-batches and over ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

#: One gradient per parameter, or `None` where the loss does not depend on the parameter.
Gradient = list[Tensor | None]


def add_gradient(total: Gradient, gradient: Sequence[Tensor | None], scale: float = 1.0) -> None:
    """
    Adds `scale · gradient` to a sum of gradients.

    Args:
        total (`list[torch.Tensor | None]`):
            The sum, updated in place. Entries are replaced, but their tensors do not change, because they may be
            shared.
        gradient (`Sequence[torch.Tensor | None]`): The gradient to add.
        scale (`float`, *optional*, defaults to 1.0): Factor of the gradient.
    """
    for i, part in enumerate(gradient):
        so_far = total[i]
        if part is not None and so_far is not None:
            total[i] = so_far.add(part, alpha=scale)
        elif part is not None:
            total[i] = part if scale == 1.0 else part * scale


class GradientSum:
    """
    The sum of gradients of the same parameters.

    The first gradient is kept, not copied. It may share memory with other tensors, so the second addition makes new
    tensors; later ones change these in place.

    Args:
        num_parameters (`int`): Entries of a gradient.
    """

    def __init__(self, num_parameters: int) -> None:
        self.value: Gradient = [None] * num_parameters
        self._owned: set[int] = set()

    @torch.no_grad()
    def add(self, gradient: Sequence[Tensor | None]) -> None:
        """
        Adds a gradient.

        Args:
            gradient (`Sequence[torch.Tensor | None]`): One tensor per parameter; `None` counts as zero.
        """
        for i, part in enumerate(gradient):
            so_far = self.value[i]
            if part is None:
                continue
            if so_far is None:
                self.value[i] = part
            elif i in self._owned:
                so_far.add_(part)
            else:
                self.value[i] = so_far.add(part)
                self._owned.add(i)

    def add_of(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """
        Adds the gradient of a loss, in which frozen parameters have none. It changes no `.grad`, and calls no hooks
        of DDP.

        Args:
            loss (`torch.Tensor`): A scalar.
            parameters (`Sequence[torch.nn.Parameter]`): One parameter per entry.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        self.add([next(gradients) if parameter.requires_grad else None for parameter in parameters])


@torch.no_grad()
def reduce_gradient(
    gradient: Gradient, parameters: Sequence[nn.Parameter], accelerator: Accelerator, reduction: str
) -> Gradient:
    """
    Computes the sum or mean of a gradient over all ranks, in one exchange. All ranks must call it.

    Args:
        gradient (`list[torch.Tensor | None]`): This rank's gradient. Its `None` entries may differ from other ranks'.
        parameters (`Sequence[torch.nn.Parameter]`): The parameters, in the order of the gradient's entries.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        reduction (`str`): `"sum"` or `"mean"`.

    Returns:
        `list[torch.Tensor | None]`: The sum or mean, the same on all ranks. Entries that are `None` on every rank stay
        `None`.
    """
    if accelerator.num_processes == 1:
        return gradient
    reached = torch.tensor([float(part is not None) for part in gradient], device=accelerator.device)
    numbers = [i for i, count in enumerate(accelerator.reduce(reached, reduction="sum").tolist()) if count]
    if not numbers:
        return gradient
    parts = [torch.zeros_like(parameters[i]) if (part := gradient[i]) is None else part for i in numbers]
    everywhere = accelerator.reduce(torch.cat([part.flatten() for part in parts]), reduction=reduction)
    reduced: Gradient = [None] * len(gradient)
    for i, part in zip(numbers, everywhere.split([part.numel() for part in parts]), strict=True):
        reduced[i] = part.view_as(parameters[i])
    return reduced
