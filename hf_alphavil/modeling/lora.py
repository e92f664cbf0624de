"""LoRA adapters on the encoder, with fully trained heads: the settings and how they change a model."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

from safetensors import SafetensorError
from torch import nn
from transformers.pytorch_utils import Conv1D
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME

from . import MultitaskConfig, MultitaskModel, head_modules
from .label_order import reorder_labels
from .loading import load_config

logger = logging.getLogger(__name__)


@dataclass
class LoraArguments:
    """Settings for adapters instead of full fine-tuning. Names and defaults are those of trl."""

    help_title: ClassVar[str] = "LoRA"  # in `--help`

    use_peft: bool = field(
        default=False,
        metadata={"help": "Train only LoRA adapters on the encoder, and the heads, instead of all weights."},
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(
        default=32, metadata={"help": "LoRA's α, not αVIL's: adapters are scaled by lora_alpha / lora_r."}
    )
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout on the input of the adapters."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "Modules of the encoder that get an adapter, by the last part of their names, such as `query "
            "value`, or `all-linear`. Default: peft's choice for the architecture."
        },
    )

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("lora_r", self.lora_r >= 1, "1 or more"),
            ("lora_alpha", self.lora_alpha >= 1, "1 or more: adapters are scaled by it"),
            ("lora_dropout", 0 <= self.lora_dropout < 1, "a share from 0 to less than 1"),
        ):
            if not valid:
                raise ValueError(f"{name}={getattr(self, name)!r}: pass {wanted}")


def add_lora(model: MultitaskModel, args: LoraArguments) -> Any:
    """
    Adds adapters to the encoder of a model. The heads stay fully trainable.

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

    return get_peft_model(
        model,
        LoraConfig(
            r=args.lora_r,
            lora_alpha=args.lora_alpha,
            lora_dropout=args.lora_dropout,
            target_modules=_targets(model, args.lora_target_modules),
            modules_to_save=head_modules(model),
        ),
    )


def load_model(path: str, tasks: Any, args: LoraArguments, revision: str | None = None) -> Any:
    """
    Loads the model of a run: a plain encoder, a saved multitask model or a folder with adapters.

    Args:
        path (`str`): Hub id or folder.
        tasks (`dict[str, Task]` or `dict[str, dict]`): The tasks, for new heads.
        args (`LoraArguments`): Settings of new adapters. Ignored for a folder that already has adapters.
        revision (`str`, *optional*): Revision on the Hub.

    Returns:
        `MultitaskModel` or `peft.PeftModel`: The model to pass to [`MultitaskTrainer`].

    Raises:
        ValueError: If a file of weights is damaged.
    """
    try:
        if holds_adapters(path):
            return load_adapted(path, tasks)
        model = load_base(path, tasks, revision)
    except (SafetensorError, UnpicklingError, RuntimeError, MemoryError) as error:
        raise ValueError(f"the weights in {path} cannot be read: {error}") from error
    return add_lora(model, args) if args.use_peft else model


def load_adapted(path: str, tasks: Any) -> Any:
    """
    Loads what a run with adapters saved: the original encoder, with the adapters and heads from the folder.

    Args:
        path (`str`): Folder of the adapters.
        tasks (`dict[str, Task]` or `dict[str, dict]`):
            The tasks of the run that saved the folder, for a folder that does not describe its heads.

    Returns:
        `peft.PeftModel`: The model, with trainable adapters.
    """
    _require_peft()
    from peft import PeftConfig, PeftModel

    described: dict[str, Any] = {}
    if (Path(path) / CONFIG_NAME).is_file() and holds_heads(path):
        tasks = described = MultitaskConfig.from_pretrained(path).tasks
    else:
        logger.warning("%s does not say which labels its heads have: they are taken to be those of the tasks", path)
    model = load_base(PeftConfig.from_pretrained(path).base_model_name_or_path, tasks)
    for name, head in described.items():
        # A head that is not in the folder is the base model's, and the run may have changed the order of its outputs.
        if head["labels"] != model.config.tasks[name]["labels"]:
            reorder_labels(model, name, head["labels"])
    return PeftModel.from_pretrained(model, path, is_trainable=True)


def load_base(path: str, tasks: Any, revision: str | None = None) -> MultitaskModel:
    """
    Loads a saved multitask model, or puts new heads on a plain encoder.

    Args:
        path (`str`): Hub id or folder of the multitask model or the encoder.
        tasks (`dict[str, Task]` or `dict[str, dict]`): The tasks for new heads.
        revision (`str`, *optional*): Revision on the Hub.

    Returns:
        `MultitaskModel`: The model.
    """
    if holds_heads(path, revision):
        return MultitaskModel.from_pretrained(path, revision=revision)
    return MultitaskModel.from_encoder(path, tasks=tasks, revision=revision)


def holds_heads(path: str, revision: str | None = None) -> bool:
    """Whether a folder or a Hub id is a multitask model rather than a plain encoder."""
    return load_config(path, revision=revision).model_type == MultitaskModel.config_class.model_type


def holds_adapters(path: str) -> bool:
    """Whether a folder was saved by a model with adapters."""
    return (Path(path) / ADAPTER_CONFIG_NAME).is_file()


def _targets(model: MultitaskModel, wanted: Sequence[str] | None) -> str:
    """A pattern for layers of the encoder only, since heads and pooler can have layers of the same names."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS

    layers = {
        name: name.rsplit(".", 1)[-1]
        for name, module in model.encoder.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and not name.startswith("pooler.")
    }
    if wanted is None:
        wanted = DEFAULT_TARGETS.get(model.encoder.config.model_type, ["all-linear"])
    chosen = set(layers.values()) if list(wanted) == ["all-linear"] else set(wanted)
    if unknown := chosen - set(layers.values()):
        raise ValueError(
            f"the encoder has no linear layer named {', '.join(sorted(unknown))}: pass as `lora_target_modules` "
            f"any of {', '.join(sorted(set(layers.values())))}, or all-linear"
        )
    return rf"encoder\.(?!pooler\.)(?:.*\.)?(?:{'|'.join(map(re.escape, sorted(chosen)))})"


def _require_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ImportError("adapters need the peft library: `pip install peft`") from error
