"""A model in words: its parameters, modules, configuration and adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ..data.content_hash import value_hash
from ..files.digest import Digest
from .code_description import describe_code

#: Entries of a model's or an adapter's configuration that say where it came from or how it is run.
_NOT_COMPARED = frozenset(
    {
        "_name_or_path", "name_or_path", "base_model_name_or_path", "revision", "transformers_version", "peft_version",
        "architectures", "dtype", "torch_dtype", "use_cache", "inference_mode", "auto_mapping", "task_type",
        "_attn_implementation", "attn_implementation", "_experts_implementation", "experts_implementation",
    }
)  # fmt: skip
_TOKEN_ID = "_token_id"
_ALIGNED = ("pad_token_id", "bos_token_id", "eos_token_id")
_OF_TOKENIZER = ("padding_side", "truncation_side", "model_input_names", "special_tokens_map")


def describe_model(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """
    Describes what a run cannot resume with if it differs: parameters, modules, configuration, adapters.

    Args:
        model (`torch.nn.Module`): The model, without wrappers for distributed training.

    Yields:
        `tuple[str, Any]`: Names and values, ready for JSON.
    """
    yield (
        "parameters",
        [
            f"{name} {str(p.dtype).removeprefix('torch.')} {list(p.shape)}{'' if p.requires_grad else ' (frozen)'}"
            for name, p in model.named_parameters()
        ],
    )
    # Dropout, for example, has no parameters.
    yield (
        "modules",
        [f"{name}: {text}" for name, module in model.named_modules() if (text := _describe_module(module))],
    )
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        values = _flat("the model's config: ", config.to_dict())
        yield from ((name, value) for name, value in values if not name.endswith(_TOKEN_ID))
    adapters = getattr(model, "peft_config", None)
    yield "adapters", None if adapters is None else list(adapters)
    for name, adapter in (adapters or {}).items():
        yield from _flat(f"adapter {name}: ", adapter.to_dict())
    if adapters is not None:
        yield "weights below the adapters", _frozen_weights(model)


def describe_details(model: nn.Module, tokenizer: Any) -> Iterator[tuple[str, Any]]:
    """
    Describes what a run may resume with, though it differs: special tokens and buffers that no checkpoint holds.

    Args:
        model (`torch.nn.Module`): The model, without wrappers for distributed training.
        tokenizer (`Any`): The tokenizer, if there is one.

    Yields:
        `tuple[str, Any]`: Names and values, ready for JSON.
    """
    is_tokenizer = isinstance(tokenizer, PreTrainedTokenizerBase)
    # Trainer copies them from the tokenizer into the configuration.
    aligned = {name for name in _ALIGNED if is_tokenizer and getattr(tokenizer, name) is not None}
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        for name, value in _flat("the model's config: ", config.to_dict()):
            if name.endswith(_TOKEN_ID) and not any(name.endswith(one) for one in aligned):
                yield name, value
    if is_tokenizer:
        yield from ((f"the tokenizer's {name}", as_json(getattr(tokenizer, name))) for name in _OF_TOKENIZER)
        yield "the tokenizer", f"{type(tokenizer).__name__} with {len(tokenizer)} tokens"
    configs = [
        module.config for module in model.modules() if isinstance(getattr(module, "config", None), PreTrainedConfig)
    ]
    for name in ("_attn_implementation", "_experts_implementation"):
        used = {str(getattr(config, name)) for config in configs if getattr(config, name, None) is not None}
        yield f"the models' {name.strip('_')}", sorted(used)
    saved = model.state_dict().keys()
    yield (
        "buffers that no checkpoint holds",
        [f"{name}: content {value_hash(one)[:8]}" for name, one in model.named_buffers() if name not in saved],
    )


def _describe_module(module: nn.Module) -> str | None:
    """A module of torch in words. FSDP2 makes subclasses of modules."""
    of_torch = (one for one in type(module).__mro__ if one.__module__.startswith("torch.nn.modules"))
    kind = next(of_torch, None)
    if kind is None or kind is nn.Module or any(True for _ in module.children()):
        return None
    return f"{kind.__name__}({module.extra_repr()})"


def _frozen_weights(model: nn.Module) -> str:
    """A hash of the weights below adapters, which the checkpoint does not hold."""
    digest = Digest()
    for name, parameter in model.named_parameters():
        # What `modules_to_save` replaces is not used.
        if not parameter.requires_grad and ".original_module." not in name:
            digest.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"content {digest.hexdigest()[:12]}"


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if key in _NOT_COMPARED:
            continue
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", {str(name): inner for name, inner in value.items()})
        else:
            yield f"{prefix}{key}", as_json(value)


def as_json(value: Any) -> Any:
    """
    A value as JSON has it.

    Args:
        value (`Any`): The value: an object of another class becomes its description.
    """
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [as_json(inner) for inner in value]
    if hasattr(value, "value"):  # an enumeration
        return value.value
    return value if value is None or isinstance(value, (bool, int, float, str)) else describe_code(value)
