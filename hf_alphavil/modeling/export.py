"""Writes one task of a multitask model as an ordinary model folder of its native class."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..kinds import find_kind
from .builder import meta_native, name_in_model
from .configuration import MultitaskConfig
from .limits import max_positions


def export_native(
    config: MultitaskConfig,
    task: str,
    path: str | os.PathLike[str],
    state_dict: dict[str, torch.Tensor],
    dtype: torch.dtype = torch.float32,
    processing_class: Any = None,
) -> None:
    """
    Saves the native model of one task with the weights of a multitask model.

    Args:
        config (`MultitaskConfig`): The multitask model's configuration.
        task (`str`): Task name.
        path (`str` or `os.PathLike`): Folder to write to.
        state_dict (`dict[str, torch.Tensor]`): The multitask model's weights, under its names.
        dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): The dtype to write into the configuration.
        processing_class (`PreTrainedTokenizerBase`, *optional*): A tokenizer to save into the same folder.

    Raises:
        ValueError: If there is no such task, or if weights that it needs are not in `state_dict`.
    """
    native_config = config.task_config(task)
    native = meta_native(find_kind(config.tasks[task]["kind"]).native_class(config.encoder), native_config)
    native.to(dtype)  # type: ignore[arg-type]
    # A new native model defines which weights are needed. Its base can be smaller than the encoder (no pooler).
    sources = {name: name_in_model(native, task, name) for name in native.state_dict()}
    if lacking := [source for source in sources.values() if source not in state_dict]:
        raise ValueError(
            f"cannot export task {task!r}: the model has no weights named {lacking[:3]}"
            + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
            + ". If it has adapters, merge them first (`merge_and_unload()`)"
        )
    weights = {name: state_dict[source] for name, source in sources.items()}
    ties = native.all_tied_weights_keys.items()
    if any(
        not torch.equal(weights[one], weights[other]) for one, other in ties if one in weights and other in weights
    ):
        # Adapters train a copy of a language model head. A configuration that ties it would discard the copy.
        native_config.tie_word_embeddings = False
        native = meta_native(type(native), native_config)
        native.to(dtype)  # type: ignore[arg-type]
        weights = {name: value.clone() for name, value in weights.items()}
    native.save_pretrained(path, state_dict=weights)
    if processing_class is not None:
        limit = max_positions(native)
        if isinstance(processing_class, PreTrainedTokenizerBase) and limit is not None:
            processing_class = copy.deepcopy(processing_class)  # `pipeline(..., truncation=True)` reads its limit
            processing_class.model_max_length = min(processing_class.model_max_length, limit)
        processing_class.save_pretrained(path)
