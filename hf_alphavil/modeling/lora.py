"""LoRA adapters on the encoder, with fully trained heads: how they change a model, and how they are loaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig
from transformers.pytorch_utils import Conv1D
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME

from . import MultitaskConfig, MultitaskModel, head_modules, unwrap_peft, upcast_trainable
from .half_precision import HALF_PRECISION
from .label_order import reorder_labels
from .loading import load_config
from .lora_arguments import LoraArguments

logger = logging.getLogger(__name__)


def add_lora(model: MultitaskModel, args: LoraArguments) -> Any:
    """
    Adds adapters to the encoder of a model. The heads stay fully trainable.

    The encoder may be in half precision or quantized: it is frozen. Adapters, heads and pooler become float32.

    Args:
        model (`MultitaskModel`): The model. It is changed in place and becomes part of the returned model.
        args (`LoraArguments`): The settings.

    Returns:
        `peft.PeftModel`: The model to pass to [`MultitaskTrainer`].

    Raises:
        ImportError: If `peft` is not installed.
        ValueError: If the encoder has no layer with a name in `lora_target_modules`.
    """
    _require_peft()
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=_targets(model, args.lora_target_modules),
        modules_to_save=head_modules(model),
    )
    return upcast_trainable(get_peft_model(model, config))


def load_model(path: str, tasks: Any, args: LoraArguments, revision: str | None = None) -> Any:
    """
    Loads the model of a run: a plain encoder, a saved multitask model or a folder with adapters.

    Args:
        path (`str`): Hub id or folder.
        tasks (`dict[str, Task]` or `dict[str, dict]`): The tasks, for new heads.
        args (`LoraArguments`):
            Settings of new adapters. A folder with adapters keeps its own, and refuses others that the user has given.
        revision (`str`, *optional*): Revision on the Hub.

    Returns:
        `MultitaskModel` or `peft.PeftModel`: The model to pass to [`MultitaskTrainer`].

    Raises:
        ValueError: If a file of weights is damaged, or the adapters in the folder have other settings than given.
    """
    try:
        if holds_adapters(path):
            return load_adapted(path, tasks, args)
        model = load_base(path, tasks, revision, **args.base_arguments())
    except (SafetensorError, UnpicklingError, RuntimeError, MemoryError) as error:
        raise ValueError(f"the weights in {path} cannot be read: {error}") from error
    return add_lora(model, args) if args.use_peft else model


def load_adapted(path: str, tasks: Any, args: LoraArguments | None = None) -> Any:
    """
    Loads what a run with adapters saved: the original encoder, with the adapters and heads from the folder.

    Adapters and heads are loaded in float32, whatever the encoder's data type is.

    Args:
        path (`str`): Folder of the adapters.
        tasks (`dict[str, Task]` or `dict[str, dict]`):
            The tasks of the run that saved the folder, for a folder that does not describe its heads.
        args (`LoraArguments`, *optional*):
            For the data type of the encoder, or its quantization. Defaults to those of the run that saved the folder.

    Returns:
        `peft.PeftModel`: The model, with trainable adapters.

    Raises:
        ValueError: If the adapters have other settings than the user has given.
    """
    _require_peft()
    from peft import PeftConfig, PeftModel

    described: dict[str, Any] = {}
    base_arguments = args.base_arguments() if args is not None else {}
    if (Path(path) / CONFIG_NAME).is_file() and holds_heads(path):
        config = MultitaskConfig.from_pretrained(path)
        tasks = described = config.tasks
        base_arguments = base_arguments or _base_arguments_of(config.encoder)
    else:
        logger.warning("%s does not say which labels its heads have: they are taken to be those of the tasks", path)
    model = load_base(PeftConfig.from_pretrained(path).base_model_name_or_path, tasks, **base_arguments)
    for name, head in described.items():
        # A head that is not in the folder is the base model's, and the run may have changed the order of its outputs.
        if head["labels"] != model.config.tasks[name]["labels"]:
            reorder_labels(model, name, head["labels"])
    given = _given_settings(model, args) if args is not None else {}
    adapted: Any = upcast_trainable(PeftModel.from_pretrained(model, path, is_trainable=True))
    _check_settings(given, adapted, path)
    if any(parameter.dtype in HALF_PRECISION for parameter in model.parameters()):
        # The weights of the heads were rounded when they were copied into those of the base.
        adapted.load_adapter(path, adapted.active_adapter, is_trainable=True)
    return adapted


def adapter_settings(model: Any) -> dict[str, Any]:
    """
    The settings of the adapters that a model has, by the names of [`LoraArguments`].

    Args:
        model (`torch.nn.Module`): The model.

    Returns:
        `dict[str, Any]`: Values by name; nothing for a model without adapters, and `use_peft` alone for other adapters
        than LoRA's.
    """
    if unwrap_peft(model) is model:
        return {}
    from peft import LoraConfig

    config = model.peft_config[model.active_adapter]
    if not isinstance(config, LoraConfig):
        return {"use_peft": True}
    return {
        "use_peft": True,
        "lora_r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "lora_target_modules": sorted({name.rsplit(".", 1)[-1] for name in model.targeted_module_names}),
    }


def _given_settings(model: MultitaskModel, args: LoraArguments) -> dict[str, Any]:
    """What the user has given of [`adapter_settings`]. The model has no adapters yet."""
    given = {
        name: getattr(args, name) for name in sorted(args.given) if name == "use_peft" or name.startswith("lora_")
    }
    if "lora_target_modules" in given:
        given["lora_target_modules"] = _target_names(model, args.lora_target_modules)
    return given


def _check_settings(given: dict[str, Any], adapted: Any, path: str) -> None:
    found = adapter_settings(adapted)
    others = {name: value for name, value in given.items() if value != found.get(name)}
    if others:
        said, has = (_in_words({name: values.get(name) for name in others}) for values in (given, found))
        raise ValueError(
            f"{said} contradicts the adapters in {path}, which have {has} and keep it: leave "
            f"{', '.join(f'--{name}' for name in others)} out, or pass a model without adapters as "
            "--model_name_or_path, which gets new ones"
        )


def _in_words(settings: dict[str, Any]) -> str:
    pairs = {name: " ".join(value) if isinstance(value, list) else value for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in pairs.items())


def _base_arguments_of(encoder: PreTrainedConfig) -> dict[str, Any]:
    """How the encoder of a run was loaded."""
    named = {"dtype": encoder.dtype, "quantization_config": getattr(encoder, "quantization_config", None)}
    return {name: value for name, value in named.items() if value is not None}


def load_base(path: str, tasks: Any, revision: str | None = None, **kwargs: Any) -> MultitaskModel:
    """
    Loads a saved multitask model, or puts new heads on a plain encoder.

    Args:
        path (`str`): Hub id or folder of the multitask model or the encoder.
        tasks (`dict[str, Task]` or `dict[str, dict]`): The tasks for new heads.
        revision (`str`, *optional*): Revision on the Hub.
        kwargs (`dict`, *optional*): Other arguments of `from_encoder` or `from_pretrained`.

    Returns:
        `MultitaskModel`: The model.

    Raises:
        ValueError: If a saved multitask model should be quantized.
    """
    if not holds_heads(path, revision):
        return MultitaskModel.from_encoder(path, tasks=tasks, revision=revision, **kwargs)
    if "quantization_config" in kwargs:
        raise ValueError(f"{path} is a multitask model, whose heads cannot be quantized: pass the plain encoder")
    return MultitaskModel.from_pretrained(path, revision=revision, **kwargs)


def holds_heads(path: str, revision: str | None = None) -> bool:
    """Whether a folder or a Hub id is a multitask model rather than a plain encoder."""
    return load_config(path, revision=revision).model_type == MultitaskModel.config_class.model_type


def holds_adapters(path: str) -> bool:
    """Whether a folder was saved by a model with adapters."""
    return (Path(path) / ADAPTER_CONFIG_NAME).is_file()


def _targets(model: MultitaskModel, wanted: Sequence[str] | None) -> str:
    """A pattern for layers of the encoder only, since heads and pooler can have layers of the same names."""
    return rf"encoder\.(?!pooler\.)(?:.*\.)?(?:{'|'.join(map(re.escape, _target_names(model, wanted)))})"


def _target_names(model: MultitaskModel, wanted: Sequence[str] | None) -> list[str]:
    """The last parts of the names of the layers that get an adapter."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS

    names = {
        name.rsplit(".", 1)[-1]
        for name, module in model.encoder.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and not name.startswith("pooler.")
    }
    if wanted is None:
        wanted = DEFAULT_TARGETS.get(model.encoder.config.model_type, ["all-linear"])
    chosen = names if list(wanted) == ["all-linear"] else set(wanted)
    if unknown := chosen - names:
        raise ValueError(
            f"the encoder has no linear layer named {', '.join(sorted(unknown))}: pass as `lora_target_modules` "
            f"any of {', '.join(sorted(names))}, or all-linear"
        )
    return sorted(chosen)


def _require_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ImportError("adapters need the peft library: `pip install peft`") from error
