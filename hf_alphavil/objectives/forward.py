"""Forward passes for comparing parameters: without dropout or compilation, and by default without autocast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer


def loss_of(outputs: Any) -> Tensor:
    """`torch.Tensor`: The loss in a model's outputs: `loss` in a dict, the first entry of a tuple."""
    return outputs["loss"] if isinstance(outputs, dict) else outputs[0]


def plain_forward(
    model: nn.Module, accelerator: Accelerator, inputs: Mapping[str, Any], autocast: bool = False
) -> Any:
    """
    Runs the bare module's forward pass without compilation, so that parameters can be compared.

    Call it inside [`deterministic_mode`], and stay inside until the backward pass has run.

    Args:
        model (`torch.nn.Module`): The bare model.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        inputs (`Mapping[str, Any]`): The model's inputs, on its device.
        autocast (`bool`, *optional*, defaults to `False`): Whether to autocast to bfloat16.

    Returns:
        `Any`: The model's outputs. Under autocast they are converted to float32.
    """
    # accelerate patches autocast into `forward` and keeps the original under this name.
    forward = getattr(model, "_original_forward", model)
    with (
        torch.autocast(accelerator.device.type, torch.bfloat16, enabled=autocast),
        # Compiling the model again for evaluation mode would take longer than the few passes here.
        torch.compiler.set_stance("force_eager"),
    ):
        outputs = forward(**inputs)
    return convert_to_fp32(outputs) if autocast else outputs


@contextmanager
def deterministic_mode(model: nn.Module) -> Iterator[None]:
    """Turns off dropout and batch-norm updates for a `with` block. Gradient checkpointing stays as it is."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for module in model.modules():
        # A layer checkpoints only in training mode. Its children stay in evaluation mode.
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
