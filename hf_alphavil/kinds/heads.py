"""The head of a kind of task: its native Hugging Face class, and how that is configured and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from .description import KindDescription


class KindHead(KindDescription):
    """A kind's head and its loss: a part of [`TaskKind`]."""

    #: Whether the encoder's checkpoint may hold a trained head of this kind.
    has_pretrained_head: ClassVar[bool] = False
    #: Whether a head has an output for each of its labels, in their order.
    has_output_per_label: ClassVar[bool] = True
    #: Reduces a batch's logits in evaluation, given logits and labels. `None` keeps the logits.
    reduce_logits: ClassVar[Callable[..., Tensor] | None] = None

    def check_head(self, labels: list[str] | None, problem_type: str | None) -> str | None:
        """
        Checks a head description and returns its full problem type.

        Raises:
            ValueError: If `labels` or `problem_type` do not fit this kind.
        """
        if labels is None or len(labels) < 2:
            raise ValueError(f"{self.words} needs at least two labels, got {labels}")
        if problem_type is not None:
            raise ValueError(f"{self.words} takes no problem_type, got {problem_type!r}")
        return None

    def native_class(self, encoder_config: PreTrainedConfig) -> type[PreTrainedModel]:
        """
        The architecture's native class for this kind of task.

        Raises:
            ValueError: If the architecture has none.
        """
        raise NotImplementedError

    def configure(self, config: PreTrainedConfig, labels: list[str] | None, problem_type: str | None) -> None:
        """Writes labels and problem type into `config`, a copy of the encoder's configuration, in place."""
        raise NotImplementedError

    def forward(self, native: PreTrainedModel, inputs: dict[str, Any]) -> Any:
        """Runs the native model. `inputs` holds no `None`."""
        return native(**inputs)

    def labels_for_loss(self, labels: np.ndarray, shape: tuple[int, ...], num_labels: int) -> np.ndarray:
        """
        Converts the labels of a tokenised row, or of a batch of them, to the type that the native loss takes.

        Args:
            labels (`np.ndarray`): The labels.
            shape (`tuple[int, ...]`): The shape of the `input_ids`.
            num_labels (`int`): The number of the head's labels.

        Raises:
            ValueError: If the loss cannot read them or would misread them. The message says what to pass.
        """
        return labels

    def label_smoother(self, smoother: Any, inputs: Mapping[str, Any]) -> Any:
        """
        Finds the label smoother for one batch.

        Args:
            smoother (`LabelSmoother`): Trainer's label smoother.
            inputs (`Mapping[str, Any]`): The batch.

        Returns:
            `Callable`, *optional*: The smoother. `None` for float labels (regression and multi-label), because their
            rows do not have one class each.
        """
        labels = inputs.get("labels")
        return None if isinstance(labels, Tensor) and labels.is_floating_point() else smoother


def native_class_in(mapping: Any, config: PreTrainedConfig, what: str) -> type[PreTrainedModel]:
    """
    Finds an architecture's native class for a kind of task.

    Args:
        mapping (`dict`): One of transformers' `MODEL_FOR_..._MAPPING`.
        config (`PreTrainedConfig`): The encoder's configuration.
        what (`str`): The kind of task, for the message.

    Raises:
        ValueError: If the architecture has none.
    """
    if type(config) not in mapping:
        raise ValueError(f"the architecture {config.model_type!r} has no native class for {what} in transformers")
    return mapping[type(config)]


def set_labels(config: PreTrainedConfig, labels: list[str]) -> None:
    """Writes label names, in id order, into a configuration."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
