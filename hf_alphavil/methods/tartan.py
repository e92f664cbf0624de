"""TARTAN: multitask training towards an end task, with fixed weights or meta-learned ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..distributed.gradient_exchange import Gradient
from .gradients import norm
from .options import require
from .step_method import Step, StepMethod

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


class MTTartan(StepMethod):
    """MT-TARTAN (Dery et al., arXiv 2109.07437): every loss has the fixed weight 1/T."""

    name = "mt_tartan"

    def weigh(self, step: Step) -> Mapping[str, float]:
        return dict.fromkeys(self.order, 1.0 / len(self.order))


@dataclass(frozen=True)
class MetaTartanOptions:
    """
    Options of [`MetaTartan`].

    Args:
        weight_learning_rate (`float`, *optional*, defaults to 0.01): Step size of z.
        head_steps (`int`, *optional*, defaults to 5): Gradient steps that train the development head.
        head_learning_rate (`float`, *optional*, defaults to 0.01): Step size of these gradient steps.
    """

    weight_learning_rate: float = 0.01
    head_steps: int = 5
    head_learning_rate: float = 0.01

    def __post_init__(self) -> None:
        require(
            "weight_learning_rate", self.weight_learning_rate, self.weight_learning_rate > 0, "a positive step size"
        )
        require("head_steps", self.head_steps, self.head_steps >= 0, "a number of steps, 0 or more")
        require("head_learning_rate", self.head_learning_rate, self.head_learning_rate > 0, "a positive step size")


class MetaTartan(StepMethod):
    """
    META-TARTAN (Dery et al., arXiv 2109.07437): w = softmax(z); in every step z_t += 0.01·cos(g_dev, g_t) over the
    shared parameters, where g_dev is the gradient of the target's held-out loss through a separate development head.

    The development head is trained on the same rows, with the encoder frozen. Our reading: in every step it starts
    from the target's head and takes `head_steps` plain gradient steps, so that only z is kept between steps.
    """

    name = "meta_tartan"
    needs_meta_set = True
    draws_meta_batches = True
    meta_use = "gradients were compared"
    Options = MetaTartanOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        self._z = torch.zeros(len(self.order), dtype=torch.float64)

    def weigh(self, step: Step) -> Mapping[str, float]:
        development = self._development_gradient(step)
        parts = [part for i in step.gradients.shared if (part := development[i]) is not None]
        lengths = step.gradients.gramian().diagonal().sqrt() * norm(parts)
        products = step.gradients.inner_products(development, over=step.gradients.shared)
        self._z += self.options.weight_learning_rate * torch.where(lengths > 0, products / lengths, 0.0)
        return dict(zip(self.order, self._z.softmax(dim=0).tolist(), strict=True))

    def _development_gradient(self, step: Step) -> Gradient:
        rows = step.meta_rows(self.args.alpha_batch_size)
        head = step.gradients.head_of(self.args.target_task)
        with step.gradients.kept(head):
            for _ in range(self.options.head_steps):
                _, gradient = step.meta.loss_and_gradient(rows, wanted=head)
                step.gradients.move(gradient, -self.options.head_learning_rate)
            return step.meta.loss_and_gradient(rows)[1]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "z": self._z.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._z = torch.tensor(state["z"], dtype=torch.float64)
