"""Loads a pretrained encoder for a set of tasks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME
from transformers.utils import logging as hf_logging

from .builder import required_encoder
from .configuration import MultitaskConfig

logger = logging.getLogger(__name__)

# Arguments of from_pretrained that say where files come from: for the configuration as for the weights.
_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def load_encoder(
    name_or_path: str | os.PathLike[str], tasks: Any, **kwargs: Any
) -> tuple[MultitaskConfig, PreTrainedModel]:
    """
    Load the encoder that a set of tasks needs. See [`MultitaskModel.from_encoder`] for arguments and errors.

    Returns:
        `tuple[MultitaskConfig, PreTrainedModel]`: A configuration with the loaded encoder's own, and the encoder.
    """
    name_or_path = os.fspath(name_or_path)
    _check_folder(name_or_path)
    dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None)) or torch.float32
    hub = {key: kwargs.pop(key) for key in _HUB_ARGUMENTS if key in kwargs}

    # Before anything is loaded, so that a mistake in the tasks shows at once.
    config = MultitaskConfig(tasks=tasks)
    encoder_config = kwargs.pop("config", None)
    if not isinstance(encoder_config, PreTrainedConfig):
        encoder_config, kwargs = AutoConfig.from_pretrained(name_or_path, return_unused_kwargs=True, **hub, **kwargs)
    if isinstance(encoder_config, MultitaskConfig):
        raise ValueError(f"{name_or_path} is a multitask model already: use MultitaskModel.from_pretrained(...)")
    config.encoder = encoder_config

    base_class, arguments = required_encoder(config)
    with _without_load_report():
        loaded: Any = base_class.from_pretrained(
            name_or_path, config=encoder_config, dtype=dtype, output_loading_info=True, **arguments, **hub, **kwargs
        )
    encoder, info = loaded
    _report(name_or_path, encoder, sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
    config.encoder = encoder.config
    config.name_or_path = name_or_path
    return config, encoder


def load_language_head(
    native: PreTrainedModel, config: PreTrainedConfig, name_or_path: str | os.PathLike[str], **kwargs: Any
) -> None:
    """
    Copies a checkpoint's own language model head into a native masked language model that stands on a shared encoder.

    Args:
        native (`PreTrainedModel`): The native model, without a base model of its own.
        config (`PreTrainedConfig`): Its configuration.
        name_or_path (`str` or `os.PathLike`): The checkpoint.
        kwargs (`dict`, *optional*): Those of `from_encoder`, of which the ones about files are read.

    A head that the checkpoint lacks, or has in part, stays as it is, with a warning.
    """
    hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
    with _without_load_report():
        loaded: Any = type(native).from_pretrained(
            os.fspath(name_or_path), config=config, dtype=native.dtype, output_loading_info=True, **hub
        )
    complete, info = loaded
    base = native.base_model_prefix + "."
    head = {name: value for name, value in complete.state_dict().items() if not name.startswith(base)}
    # Tied weights are the encoder's, and are counted missing by some architectures.
    missing = {name for name in info["missing_keys"] if name in head and name not in complete.all_tied_weights_keys}
    if missing:
        logger.warning(
            f"{os.fspath(name_or_path)} has no language model head ({sorted(missing)[0]} and "
            f"{len(missing) - 1} more weights are not there): the one of this task starts at random"
        )
        return
    own = dict(native.named_parameters()) | dict(native.named_buffers())
    with torch.no_grad():
        for name, value in head.items():
            if name in own:
                own[name].copy_(value)


def _check_folder(name_or_path: str) -> None:
    # A model id is "name" or "owner/name"; anything else can only be a folder, and transformers' own message would
    # speak of an invalid repository name or of the network.
    looks_like_path = os.path.isabs(name_or_path) or name_or_path.startswith((".", "~")) or name_or_path.count("/") > 1
    if os.path.isdir(name_or_path):
        if not os.path.isfile(os.path.join(name_or_path, CONFIG_NAME)):
            raise FileNotFoundError(f"the encoder's folder {name_or_path} holds no {CONFIG_NAME}")
    elif looks_like_path:
        raise FileNotFoundError(f"the encoder's folder {name_or_path} does not exist")


def _report(name: str, encoder: PreTrainedModel, missing: list[str], unexpected: list[str]) -> None:
    total = len(encoder.state_dict())
    if len(missing) == total:
        raise ValueError(f"{name} holds no weight of a {type(encoder).__name__}")
    if missing:
        logger.warning(
            f"{len(missing)} of {total} encoder weights are not in {name} and start at random: "
            + ", ".join(missing[:4])
            + (", ..." if len(missing) > 4 else "")
        )
    elif unexpected:
        # The head that the checkpoint was pretrained with: what to expect, so no warning.
        logger.info(f"{len(unexpected)} weights of {name} are not part of the encoder and were left out")


class _NoLoadReport(logging.Filter):
    # A table of every weight of the checkpoint's own head, and what is said of one without a language model head.
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
