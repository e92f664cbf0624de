"""The native Hugging Face classes that heads are made of."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel


def native_class_in(mapping: Any, config: PreTrainedConfig, what: str) -> type[PreTrainedModel]:
    """
    An architecture's own class for a kind of task.

    Args:
        mapping (`dict`): One of transformers' `MODEL_FOR_..._MAPPING`.
        config (`PreTrainedConfig`): The encoder's configuration.
        what (`str`): The kind of task, for the message.

    Raises:
        `ValueError`: if the architecture has none.
    """
    if type(config) not in mapping:
        raise ValueError(f"the architecture {config.model_type!r} has no native class for {what} in transformers")
    return mapping[type(config)]


def set_labels(config: PreTrainedConfig, labels: list[str]) -> None:
    """Writes the labels' names, in id order, into a configuration."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
