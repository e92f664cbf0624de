"""Groups of parameters by transformer layer, for one α per layer."""

from __future__ import annotations

import re

from torch import nn

#: The group of the parameters outside the encoder. No module has this name: module names have no parentheses.
HEADS = "(heads)"
#: Matches a name up to its first part that is a number, which is the index of a layer in a list.
LAYER = re.compile(r"(?:[^.]+\.)*?\d+(?=\.)")


def layer_of(name: str) -> str:
    """
    The group of an encoder's parameter: its layer, or the encoder's child module that holds it.

    Args:
        name (`str`): The parameter's name within the encoder.

    Returns:
        `str`: `encoder.layer.3` of `encoder.layer.3.output.dense.weight`, `embeddings` of
        `embeddings.word_embeddings.weight`. Lists within a layer do not form groups.
    """
    layer = LAYER.match(name)
    return layer.group() if layer else name.split(".")[0]


def layer_groups(model: nn.Module, encoder: nn.Module) -> dict[str, str]:
    """
    Groups of a model's parameters: the encoder's layers, its other child modules, and all heads as one.

    Args:
        model (`torch.nn.Module`): The model, with its wrappers and adapters.
        encoder (`torch.nn.Module`): Its shared part.

    Returns:
        `dict[str, str]`: Group by the parameter's name in `model.named_parameters()`.
    """
    # By identity, because wrappers and adapters change names.
    within = {id(parameter): name for name, parameter in encoder.named_parameters()}
    return {
        name: layer_of(within[id(parameter)]) if id(parameter) in within else HEADS
        for name, parameter in model.named_parameters()
    }
