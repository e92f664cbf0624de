"""Which parameters belong to which transformer layer, by their names."""

from __future__ import annotations

import re

from torch import nn

#: The group of the parameters that are not the encoder's. No module is called so: module names hold no parentheses.
HEADS = "(heads)"
#: Up to the first number that is a name by itself: where a list of layers holds one.
LAYER = re.compile(r"(?:[^.]+\.)*?\d+(?=\.)")


def layer_of(name: str) -> str:
    """
    The group of an encoder's parameter: its layer, or the encoder's child that holds it.

    Args:
        name (`str`): The parameter's name within the encoder.

    Returns:
        `str`: `encoder.layer.3` of `encoder.layer.3.output.dense.weight`, `embeddings` of
        `embeddings.word_embeddings.weight`. Within a layer, lists are not looked into.
    """
    layer = LAYER.match(name)
    return layer.group() if layer else name.split(".")[0]


def layer_groups(model: nn.Module, encoder: nn.Module) -> dict[str, str]:
    """
    Groups of a model's parameters: the encoder's layers and its other children, and all heads together.

    Args:
        model (`torch.nn.Module`): The model, with wrappers and adapters if it has them.
        encoder (`torch.nn.Module`): Its shared part.

    Returns:
        `dict[str, str]`: Group by the parameter's name in `model.named_parameters()`.
    """
    # By identity: wrappers and adapters change names.
    within = {id(parameter): name for name, parameter in encoder.named_parameters()}
    return {
        name: layer_of(within[id(parameter)]) if id(parameter) in within else HEADS
        for name, parameter in model.named_parameters()
    }
