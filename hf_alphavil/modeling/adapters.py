"""Helpers for `peft` adapters on a multitask model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .half_precision import upcast


def unwrap_peft(model: Any) -> Any:
    """
    Returns the model inside a `peft.PeftModel`, and any other model unchanged.

    The adapters stay in the layers of the returned model.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training.
    """
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def merge_adapters(model: Any) -> Any:
    """
    Merges adapters into the float32 weights of a copy of the model. A model without adapters is returned unchanged.

    A base in half precision would round the merged weights. A quantized base is dequantized for the same reason.

    Args:
        model (`torch.nn.Module`): A model that is not wrapped for distributed training. It is not changed.

    Returns:
        `torch.nn.Module`: A model whose `export_task` and `save_pretrained` write ordinary weights.
    """
    if not hasattr(model, "merge_and_unload"):
        return model
    merged = copy.deepcopy(model)  # merging and unmerging would not restore the same bits
    base: Any = unwrap_peft(merged)
    upcast(base.parameters())
    if getattr(getattr(base, "encoder", None), "is_quantized", False):
        base.encoder.dequantize(dtype=torch.float32)
        _merge_into_dequantized(base)
    return merged.merge_and_unload()


@torch.no_grad()
def _merge_into_dequantized(base: nn.Module) -> None:
    # The adapters' own `merge` would quantize the weights again.
    layer: Any
    for layer in base.modules():
        if hasattr(layer, "get_delta_weight") and hasattr(layer, "merged_adapters"):
            for adapter in layer.active_adapters:
                layer.get_base_layer().weight += layer.get_delta_weight(adapter)
                layer.merged_adapters.append(adapter)
