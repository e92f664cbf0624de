"""Puts the outputs of a head into another order of its labels."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Size

from ..kinds import find_kind
from .builder import meta_native
from .configuration import MultitaskConfig
from .model import MultitaskModel

#: What peft puts into the names of the parameters of a module that it trains fully or adapts.
_PEFT_NAMES = re.compile(r"\.(modules_to_save\.[^.]+|original_module|base_layer)(?=\.)")


def reorder_labels(model: MultitaskModel, task: str, labels: Sequence[str]) -> None:
    """
    Permutes the outputs of a head, so that each label keeps its output. The model is changed in place.

    Args:
        model (`MultitaskModel`): The model, without adapters around it. Its layers may have some.
        task (`str`): The task of the head.
        labels (`Sequence[str]`): The head's labels, in their new order.

    Raises:
        ValueError: If the outputs cannot be permuted, because the layer that computes them has adapters or does not
            have one row of weights for each label.
    """
    head = model.config.tasks[task]
    order = [head["labels"].index(label) for label in labels]
    native, outputs = model.tasks[task], _output_parameters(model.config, task)
    layers = {name.rpartition(".")[0] for name in outputs}
    found = []
    for name, parameter in native.named_parameters():
        plain_name = _PEFT_NAMES.sub("", f".{name}")[1:]
        if plain_name in outputs:
            found.append(parameter)
        elif any(plain_name.startswith(f"{layer}.") for layer in layers):
            raise ValueError(f"the outputs of the head of task {task!r} have the adapter {name}")
    with torch.no_grad():
        for parameter in found:
            parameter.copy_(parameter[order])
    set_labels_of_head(model, task, labels)


def set_labels_of_head(model: MultitaskModel, task: str, labels: Sequence[str]) -> None:
    """
    Writes a head's labels into the configurations of a model. The weights stay as they are.

    Args:
        model (`MultitaskModel`): The model.
        task (`str`): The task of the head.
        labels (`Sequence[str]`): The labels in id order.
    """
    head = model.config.tasks[task]
    head["labels"] = list(labels)
    native: Any = model.tasks[task]
    find_kind(head["kind"]).configure(native.config, head["labels"], head["problem_type"])


def _output_parameters(config: MultitaskConfig, task: str) -> set[str]:
    """Names of the native model's parameters that have a row for each label."""
    shapes, wider = _shapes(config, task, 0), _shapes(config, task, 1)
    outputs = {name for name, shape in shapes.items() if shape != wider[name]}
    number = len(config.tasks[task]["labels"])
    if not outputs or any((*shapes[name],) != (number, *wider[name][1:]) for name in outputs):
        raise ValueError(f"the head of task {task!r} does not have one row of weights for each label")
    return outputs


def _shapes(config: MultitaskConfig, task: str, more_labels: int) -> dict[str, Size]:
    """The shapes of a native model's parameters, with its labels and more."""
    head = config.tasks[task]
    kind, labels = find_kind(head["kind"]), [*head["labels"]]
    labels += [f"{max(labels, key=len)}+"] * more_labels
    native_config = copy.deepcopy(config.encoder)
    kind.configure(native_config, labels, head["problem_type"])
    native = meta_native(kind.native_class(config.encoder), native_config)
    return {name: parameter.shape for name, parameter in native.named_parameters()}
