"""The layer of a regression's head that makes the prediction."""

from __future__ import annotations

from torch import nn

from .adapters import unwrap_peft


def output_layer(model: nn.Module, task: str) -> nn.Linear | None:
    """
    Finds the last layer of a task's head with one output: `nn.Linear`, with or without a bias, that is trained.

    Args:
        model (`torch.nn.Module`): A [`MultitaskModel`], or any module with an `nn.ModuleDict` of heads by task.
        task (`str`): The task.

    Returns:
        `torch.nn.Linear`, *optional*: The layer; with adapters, the trained copy of it.
    """
    by_task = (module for module in unwrap_peft(model).modules() if isinstance(module, nn.ModuleDict))
    head = next((module[task] for module in by_task if task in module), None)
    layers = [] if head is None else [module for module in head.modules() if isinstance(module, nn.Linear)]
    trained = [layer for layer in layers if layer.out_features == 1 and layer.weight.requires_grad]
    return trained[-1] if trained else None
