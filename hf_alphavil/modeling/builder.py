"""Builds the native model of each task around a shared encoder."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from ..kinds import find_kind
from .configuration import MultitaskConfig
from .encoder_reference import EncoderReference


def required_encoder(config: MultitaskConfig) -> tuple[type[PreTrainedModel], dict[str, Any]]:
    """
    Finds the base class that the native models of all tasks share, and the arguments to construct it.

    Args:
        config (`MultitaskConfig`): A configuration with at least one task.

    Returns:
        `tuple[type[PreTrainedModel], dict]`: The class and its keyword arguments. If the class takes
        `add_pooling_layer`, the arguments set it to whether any native model has a pooler in its base model.

    Raises:
        ValueError: If there is no task, if the architecture has no class for one of them, or if their native models
            have different base classes.
    """
    if not config.tasks:
        raise ValueError("a multitask model needs at least one task")
    # The base depends only on the kind, so one native model of each kind is enough.
    task_of_kind = {head["kind"]: task for task, head in reversed(config.tasks.items())}
    bases = {
        task: base_of(meta_native(find_kind(kind).native_class(config.encoder), config.task_config(task)))
        for kind, task in task_of_kind.items()
    }
    classes = {type(base) for base in bases.values()}
    if len(classes) > 1:
        found = ", ".join(f"{type(base).__name__} for task {task!r}" for task, base in bases.items())
        raise ValueError(
            f"these tasks cannot share one encoder of the architecture {config.encoder.model_type!r}: their native "
            f"models have different base classes ({found}). Train them as separate models"
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
    Builds a native task model that accesses the shared encoder through a reference.

    Args:
        native_class (`type[PreTrainedModel]`): The native class, such as `BertForSequenceClassification`.
        config (`PreTrainedConfig`): The task's native configuration.
        encoder (`PreTrainedModel`): The shared encoder. The native model gets its device and dtype.

    Returns:
        `PreTrainedModel`: The native model, with an [`EncoderReference`] as its base model. Its head is not
        initialised yet.

    Raises:
        ValueError: If the encoder lacks weights that the native model needs.
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
    Moves the declaration of a native model's tied weights to the multitask model.

    The multitask model must tie them, because the native model no longer contains the weights of its base.

    Args:
        native (`PreTrainedModel`): A native model, changed in place: it declares no tied weights afterwards.
        task (`str`): The native model's task.

    Returns:
        `dict[str, str]`: From the name of each tied weight to the name of its source, both in the multitask model. For
        example `{"tasks.mlm.cls.predictions.decoder.weight": "encoder.embeddings.word_embeddings.weight"}`. Ties
        inside the encoder are not included, since the encoder declares them itself.
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
    """Translates a tensor's name in the complete native model into its name in the multitask model."""
    base = native.base_model_prefix + "."
    return f"encoder.{name.removeprefix(base)}" if name.startswith(base) else f"tasks.{task}.{name}"


def meta_native(native_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """Builds a complete native model on the meta device, where its weights take no memory and have no values."""
    with torch.device("meta"), no_init_weights():
        return native_class(config)


def base_of(native: PreTrainedModel) -> PreTrainedModel:
    """
    The base model inside a complete native model.

    Raises:
        ValueError: If the class has no submodule under the name in its `base_model_prefix`.
    """
    base = native.base_model
    if base is native or not isinstance(base, PreTrainedModel):
        raise ValueError(f"{type(native).__name__} has no separate base model that tasks could share")
    return base
