"""Helpers for `peft` adapters on a multitask model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import nn

from .model import MultitaskModel


def unwrap_peft(model: Any) -> Any:
    """
    Returns the model inside a `peft.PeftModel`, and any other model unchanged.

    The adapters stay in the layers of the returned model.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training.
    """
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def head_modules(model: MultitaskModel) -> list[str]:
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


def merge_adapters(model: Any) -> Any:
    """
    Merges adapters into the weights of a copy of the model. A model without adapters is returned unchanged.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training. It is not changed.

    Returns:
        `torch.nn.Module`: A model whose `export_task` and `save_pretrained` write ordinary weights.
    """
    # A copy, because merging and unmerging would not restore the same bits.
    return copy.deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model
