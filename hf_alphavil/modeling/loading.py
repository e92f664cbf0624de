"""Loads a pretrained encoder for a set of tasks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME
from transformers.utils import logging as hf_logging

from ..files.hub_cache import why_not_in_cache
from .builder import required_encoder
from .configuration import MultitaskConfig

logger = logging.getLogger(__name__)

#: The endings of an encoder's files.
_ENDINGS = (".json", ".txt", ".model", ".safetensors", ".bin")
# Arguments of from_pretrained that locate files. They apply to the configuration and to the weights.
_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def load_encoder(
    name_or_path: str | os.PathLike[str], tasks: Any, **kwargs: Any
) -> tuple[MultitaskConfig, PreTrainedModel]:
    """
    Loads the encoder that a set of tasks needs. See [`MultitaskModel.from_encoder`] for arguments and errors.

    Returns:
        `tuple[MultitaskConfig, PreTrainedModel]`: The configuration of the multitask model, and the encoder.
    """
    name_or_path = os.fspath(name_or_path)
    dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None)) or torch.float32
    hub = {key: kwargs.pop(key) for key in _HUB_ARGUMENTS if key in kwargs}

    # Built before anything is loaded, so that a mistake in the tasks is reported at once.
    config = MultitaskConfig(tasks=tasks)
    encoder_config = kwargs.pop("config", None)
    if not isinstance(encoder_config, PreTrainedConfig):
        encoder_config, kwargs = load_config(name_or_path, return_unused_kwargs=True, **hub, **kwargs)
    _check_folder(name_or_path)
    if isinstance(encoder_config, MultitaskConfig):
        raise ValueError(f"{name_or_path} is already a multitask model: use MultitaskModel.from_pretrained(...)")
    config.encoder = encoder_config

    base_class, arguments = required_encoder(config)
    may_differ = kwargs.pop("ignore_mismatched_sizes", False)
    with _without_load_report():
        loaded: Any = base_class.from_pretrained(
            name_or_path, config=encoder_config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True,
            **arguments, **hub, **kwargs,
        )  # fmt: skip
    encoder, info = loaded
    if info["mismatched_keys"] and not may_differ:
        name, found, wanted = sorted(info["mismatched_keys"])[0]
        raise ValueError(
            f"{len(info['mismatched_keys'])} weights in {name_or_path} have other shapes than its {CONFIG_NAME} says: "
            f"{name} is {tuple(found)}, not {tuple(wanted)}"
        )
    _report(name_or_path, encoder, sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
    config.encoder = encoder.config
    config.name_or_path = name_or_path
    return config, encoder


def load_tokenizer(name_or_path: str | os.PathLike[str], revision: str | None = None) -> Any:
    """
    Loads the tokenizer of an encoder.

    Args:
        name_or_path (`str` or `os.PathLike`): Hub id or folder.
        revision (`str`, *optional*): Revision on the Hub.

    Returns:
        `PreTrainedTokenizerBase`: The tokenizer.

    Raises:
        FileNotFoundError: If the path is a folder that does not exist.
        ValueError: If there is no such tokenizer. The message names the path, which those of transformers do not.
    """
    name_or_path = os.fspath(name_or_path)
    _check_exists(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision)
    except Exception as error:  # a faulty file raises a plain Exception
        place = "" if os.path.isdir(name_or_path) else " is not a folder here, and"
        raise ValueError(f"{name_or_path}{place or ':'} its tokenizer cannot be loaded: {_reason(error)}") from error
    # transformers makes a tokenizer without words where the files are missing.
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)) + 2:
        raise ValueError(f"{name_or_path} has no tokenizer: add its files, such as tokenizer.json, to the encoder")
    return tokenizer


def load_config(name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """
    Loads the configuration of an encoder or of a multitask model.

    Args:
        name_or_path (`str` or `os.PathLike`): Hub id or folder.
        kwargs (`dict`, *optional*): Arguments of `AutoConfig.from_pretrained`.

    Returns:
        `PreTrainedConfig`: The configuration; with `return_unused_kwargs=True`, a tuple with what it did not use.

    Raises:
        OSError: If the folder does not exist, or lacks its configuration.
        ValueError: If the configuration cannot be read. The message names the path.
    """
    name_or_path = os.fspath(name_or_path)
    _check_folder(name_or_path)
    try:
        return AutoConfig.from_pretrained(name_or_path, **kwargs)
    except Exception as error:  # a faulty file raises almost anything
        raise ValueError(f"{name_or_path}: its configuration cannot be loaded: {_reason(error)}") from error


def load_language_head(
    native: PreTrainedModel, config: PreTrainedConfig, name_or_path: str | os.PathLike[str], **kwargs: Any
) -> None:
    """
    Copies the language model head of a checkpoint into a native masked language model on a shared encoder.

    If the checkpoint has no complete head, the head keeps its random weights and a warning is logged.

    Args:
        native (`PreTrainedModel`): The native model, with an [`EncoderReference`] as its base model.
        config (`PreTrainedConfig`): The native model's configuration.
        name_or_path (`str` or `os.PathLike`): The checkpoint.
        kwargs (`dict`, *optional*): The arguments of `from_encoder`. Only those that locate files are used.
    """
    hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
    with _without_load_report():
        loaded: Any = type(native).from_pretrained(
            os.fspath(name_or_path), config=config, dtype=native.dtype, output_loading_info=True, **hub
        )
    complete, info = loaded
    base = native.base_model_prefix + "."
    head = {name: value for name, value in complete.state_dict().items() if not name.startswith(base)}
    # Tied weights belong to the encoder. Some architectures report them as missing.
    missing = {name for name in info["missing_keys"] if name in head and name not in complete.all_tied_weights_keys}
    if missing:
        logger.warning(
            f"{os.fspath(name_or_path)} has no language model head ({sorted(missing)[0]} and "
            f"{len(missing) - 1} more weights are missing): the head of this task starts with random weights"
        )
        return
    own = dict(native.named_parameters()) | dict(native.named_buffers())
    with torch.no_grad():
        for name, value in head.items():
            if name in own:
                own[name].copy_(value)


def _reason(error: Exception) -> str:
    why = why_not_in_cache(error)
    return str(error) if why is None else f"{why}: pass the encoder's folder, or load it once with a network"


def _check_folder(name_or_path: str) -> None:
    _check_exists(name_or_path)
    if not os.path.isdir(name_or_path):
        return
    for entry in os.scandir(name_or_path):  # safetensors says that an unreadable file does not exist
        if entry.name.endswith(_ENDINGS) and entry.is_file():
            open(entry, "rb").close()
    if not os.path.isfile(os.path.join(name_or_path, CONFIG_NAME)):
        raise FileNotFoundError(f"the encoder's folder {name_or_path} has no {CONFIG_NAME}")


def _check_exists(name_or_path: str) -> None:
    if os.path.isfile(name_or_path):
        raise ValueError(f"the encoder {name_or_path} is a file: pass its folder")
    # A model id is "name" or "owner/name"; anything else can only be a folder. For a missing folder, transformers
    # would complain about an invalid repository name or about the network.
    looks_like_path = os.path.isabs(name_or_path) or name_or_path.startswith((".", "~")) or name_or_path.count("/") > 1
    if looks_like_path and not os.path.isdir(name_or_path):
        raise FileNotFoundError(f"the encoder's folder {name_or_path} does not exist")


def _report(name: str, encoder: PreTrainedModel, missing: list[str], unexpected: list[str]) -> None:
    total = len(encoder.state_dict())
    if len(missing) == total:
        raise ValueError(f"{name} has none of the weights of a {type(encoder).__name__}")
    if broken := [name for name, p in encoder.named_parameters() if not (p.is_meta or _is_finite(p))]:
        raise ValueError(f"{len(broken)} weights in {name} are NaN or infinite, the first is {broken[0]}")
    if missing:
        logger.warning(
            f"{len(missing)} of {total} encoder weights are not in {name} and start with random values: "
            + ", ".join(missing[:4])
            + (", ..." if len(missing) > 4 else "")
        )
    elif unexpected:
        # Usually the head that the checkpoint was pretrained with. This is expected, so it is not a warning.
        logger.info(f"{len(unexpected)} weights of {name} are not part of the encoder and were not loaded")


def _is_finite(weights: Tensor) -> bool:
    # A sum is many times faster. NaN and infinities pass into it, and that of finite weights may overflow.
    return bool(weights.sum().isfinite()) or bool(weights.isfinite().all())


class _NoLoadReport(logging.Filter):
    # Hides transformers' table of all unused weights, and its remark about a missing language model head.
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "LOAD REPORT" not in message and "checkpoint seem corrupted" not in message


@contextmanager
def _without_load_report() -> Iterator[None]:
    library_logger = hf_logging.get_logger("transformers.modeling_utils")
    report_filter = _NoLoadReport()
    library_logger.addFilter(report_filter)
    try:
        yield
    finally:
        library_logger.removeFilter(report_filter)
