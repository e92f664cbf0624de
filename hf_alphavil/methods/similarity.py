"""Methods that keep the part of auxiliary gradients that agrees with the target's: GCS and target-only PCGrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .step_method import Step, StepMethod


def cosines_with_first(gramian: Tensor) -> Tensor:
    """
    cos(g_0, g_t) from the inner products of gradients; 0 if one of the gradients is 0.

    Args:
        gramian (`torch.Tensor`): Of shape `(T, T)`.

    Returns:
        `torch.Tensor`: Of shape `(T,)`.
    """
    norms = gramian.diagonal().clamp(min=0).sqrt()
    lengths = norms[0] * norms
    return torch.where(lengths > 0, gramian[0] / lengths, 0.0)


@dataclass(frozen=True)
class GcsOptions:
    """
    Options of [`GradientCosineSimilarity`].

    Args:
        weighted (`bool`, *optional*, defaults to `False`): Whether the factor is max(0, cos) instead of 1[cos > 0].
    """

    weighted: bool = False


class GradientCosineSimilarity(StepMethod):
    """
    GCS (Du et al., arXiv 1812.02224): g = g_* + Σ_k 1[cos(g_*, g_k) > 0] g_k on shared parameters.

    Heads follow their own task's gradient. With `weighted=True` the factor is max(0, cos).
    """

    name = "gcs"
    Options = GcsOptions
    weighs_heads = False

    def weigh(self, step: Step) -> Mapping[str, float]:
        cosines = cosines_with_first(step.gradients.gramian())
        factors = cosines.clamp(min=0) if self.options.weighted else (cosines > 0).double()
        factors[0] = 1.0
        return dict(zip(self.order, factors.tolist(), strict=True))


class TargetPCGrad(StepMethod):
    """
    PCGrad (Yu et al., arXiv 2001.06782) for the target alone: g_k ← g_k − ⟨g_k, g_*⟩/‖g_*‖² · g_* if
    ⟨g_k, g_*⟩ < 0, then g = g_* + Σ_k g_k on shared parameters.

    Heads follow their own task's gradient. The target's weight in the history is the factor of g_* in that sum, 1 or
    more.
    """

    name = "target_pcgrad"
    weighs_heads = False

    def weigh(self, step: Step) -> Mapping[str, float]:
        gramian = step.gradients.gramian()
        conflicts = gramian[0, 1:].clamp(max=0).sum()
        target = 1.0 - (conflicts / gramian[0, 0]).item() if gramian[0, 0] > 0 else 1.0
        return {task: target if i == 0 else 1.0 for i, task in enumerate(self.order)}
