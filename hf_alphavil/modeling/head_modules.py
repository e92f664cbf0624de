"""The modules of a multitask model that train fully beside adapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn


def head_modules(model: Any) -> list[str]:
    """
    Lists the modules to pass as `modules_to_save` of an adapter, so that heads train fully and are saved with it.

    These are the modules that directly own the parameters of the heads and of the encoder's pooler. The pooler is
    included because a checkpoint that was pretrained without one leaves it at random values, which an adapter file
    would not store.

    Args:
        model (`MultitaskModel`): The model, without adapters.

    Returns:
        `list[str]`: Names of modules, such as `"tasks.rte.classifier.dense"`.
    """
    names = list(_owners(model.tasks, "tasks"))
    pooler = getattr(model.encoder, "pooler", None)
    return names + (list(_owners(pooler, "encoder.pooler")) if isinstance(pooler, nn.Module) else [])


def _owners(module: nn.Module, name: str) -> Iterator[str]:
    if any(True for _ in module.parameters(recurse=False)):
        yield name
        return
    for child_name, child in module.named_children():
        yield from _owners(child, f"{name}.{child_name}")
