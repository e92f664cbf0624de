"""The multitask model under adapters of the `peft` library."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import nn

from .model import MultitaskModel


def unwrap_peft(model: Any) -> Any:
    """
    The model inside a `peft.PeftModel`; any other model as it is.

    Its adapters stay where they are: they sit in its layers.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training.
    """
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def head_modules(model: MultitaskModel) -> list[str]:
    """
    What `modules_to_save` of an adapter must name so that heads train fully and are saved with the adapter.

    These are the innermost modules that own the parameters of the heads, and of the encoder's pooler: a checkpoint
    that was pretrained without one leaves it at random values, which an adapter file would not hold.

    Args:
        model (`MultitaskModel`): Before adapters are put into it.

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
    A copy of the model with its adapters merged into the weights; a model without adapters as it is.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training.

    Returns:
        `torch.nn.Module`: An ordinary model, whose `export_task` and `save_pretrained` write ordinary weights. The
        adapted model keeps its adapters.
    """
    # A copy, because merging and taking the adapters out again would not give the same bits back.
    return copy.deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model
