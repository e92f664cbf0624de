"""Builds native task models around a shared encoder."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from .configuration import MultitaskConfig
from .encoder_reference import EncoderReference
from .kinds import KINDS


def required_encoder(config: MultitaskConfig) -> tuple[type[PreTrainedModel], dict[str, Any]]:
    """
    The base class that the native models of all tasks share, and how to construct it.

    Args:
        config (`MultitaskConfig`): With at least one task.

    Returns:
        `tuple[type[PreTrainedModel], dict]`: The class and its keyword arguments: `add_pooling_layer`, where the class
        knows it, is whether any native has a pooler in its base model.

    Raises:
        `ValueError`: If there is no task, if the architecture lacks a class for one of them, or if their native models
            have different base classes.
    """
    if not config.tasks:
        raise ValueError("a multitask model needs at least one task")
    # The base depends on the kind alone, so one native model of each kind is enough.
    task_of_kind = {head["kind"]: task for task, head in reversed(config.tasks.items())}
    bases = {
        task: base_of(meta_native(KINDS[kind].native_class(config.encoder), config.task_config(task)))
        for kind, task in task_of_kind.items()
    }
    classes = {type(base) for base in bases.values()}
    if len(classes) > 1:
        found = ", ".join(f"{type(base).__name__} for task {task!r}" for task, base in bases.items())
        raise ValueError(
            f"these tasks cannot share one encoder of the architecture {config.encoder.model_type!r}: their native "
            f"models stand on different base classes ({found}). Train them as separate models"
        )
    (base_class,) = classes
    arguments = {}
    if "add_pooling_layer" in inspect.signature(base_class).parameters:
        arguments["add_pooling_layer"] = any(getattr(base, "pooler", None) is not None for base in bases.values())
    return base_class, arguments


def build_native(
    native_class: type[PreTrainedModel], config: PreTrainedConfig, encoder: PreTrainedModel
) -> PreTrainedModel:
    """
    Build a native task model that reaches the shared encoder through a reference.

    Args:
        native_class (`type[PreTrainedModel]`): For instance `BertForSequenceClassification`.
        config (`PreTrainedConfig`): The task's native configuration.
        encoder (`PreTrainedModel`): The shared encoder, which gives the device and the dtype.

    Returns:
        `PreTrainedModel`: The native model without a base model of its own. Its head is not initialised yet.

    Raises:
        `ValueError`: If the encoder lacks weights that the native model needs.
    """
    native = meta_native(native_class, config)
    base = base_of(native)
    if lacking := base.state_dict().keys() - encoder.state_dict().keys():
        raise ValueError(f"{native_class.__name__} needs an encoder with {sorted(lacking)}")
    prefix = native.base_model_prefix
    delattr(native, prefix)
    setattr(native, prefix, EncoderReference(encoder))
    native.to(encoder.dtype)  # type: ignore[arg-type]
    if encoder.device.type != "meta":
        native.to_empty(device=encoder.device)
    return native


def take_ties(native: PreTrainedModel, task: str) -> dict[str, str]:
    """
    Take a native model's tied weights from it, as names in the multitask model.

    The multitask model must do the tying: the names of the native model's base are unknown below the native itself.

    Returns:
        `dict[str, str]`: Name of the tied weight to the name of its source, for example
        `{"tasks.mlm.cls.predictions.decoder.weight": "encoder.embeddings.word_embeddings.weight"}`. Ties inside the
        encoder are left out: it declares them itself.
    """
    ties = {}
    for target, source in native.all_tied_weights_keys.items():
        target, source = name_in_model(native, task, target), name_in_model(native, task, source)
        if not target.startswith("encoder."):
            ties[target] = source
    native._tied_weights_keys = None  # type: ignore[assignment]
    native.all_tied_weights_keys = {}
    return ties


def name_in_model(native: PreTrainedModel, task: str, name: str) -> str:
    """The name in the multitask model of the tensor that the complete native model calls `name`."""
    base = native.base_model_prefix + "."
    return f"encoder.{name.removeprefix(base)}" if name.startswith(base) else f"tasks.{task}.{name}"


def meta_native(native_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A complete native model on the meta device: its structure, without memory for its weights."""
    with torch.device("meta"):
        return native_class(config)


def base_of(native: PreTrainedModel) -> PreTrainedModel:
    """
    The base model inside a complete native model.

    Raises:
        `ValueError`: If the class keeps it under another name than its `base_model_prefix`.
    """
    base = native.base_model
    if base is native or not isinstance(base, PreTrainedModel):
        raise ValueError(f"{type(native).__name__} has no separate base model that tasks could share")
    return base
