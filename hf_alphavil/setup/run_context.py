"""The parts of the trainer that a run may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .label_scale import LabelScale
from .task_setup import TaskSetup

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class RunContext:
    """
    The parts of the trainer that one `train()` call may use. Code that trains, fits α or writes the state of a run
    takes a `RunContext` and does not depend on the trainer.

    It lacks the optimizer and the learning-rate scheduler, because Trainer creates them later. The run receives them
    through `attach(optimizer, scheduler)`.

    Args:
        args (`MultitaskSettings`): The settings.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        model (`torch.nn.Module`): The bare model, without DDP's wrapper. FSDP2 shards it in place.
        setup (`TaskSetup`): Datasets, metrics and heads by task.
        collate (`Callable`): Collates examples of one or more tasks into a batch.
        prepare_inputs (`Callable`): Moves a batch to the device.
        training_loss (`Callable`): Computes the bare model's training loss on a batch, with autocast and gradients.
        preprocess_logits (`Callable`, *optional*): The user's `preprocess_logits_for_metrics`.
        batch_size (`int`): Rows per process and forward pass.
        global_batch_size (`int`): Rows of a task per optimizer step: the sum over accumulation steps and processes.
        label_names (`Sequence[str]`): Names of the inputs that hold labels. Metrics read the first one.
        folder (`Path`): The run's output folder.
        scales (`Mapping[str, LabelScale]`): Scales of the labels of regressions that are trained on standardised ones.
        has_own_loss (`bool`, *optional*, defaults to `False`): Whether the user's function, or the user's subclass of
            the trainer, computes the training loss.
    """

    args: MultitaskSettings
    accelerator: Accelerator
    model: nn.Module
    setup: TaskSetup
    collate: Callable[[list[dict[str, Any]]], Any]
    prepare_inputs: Callable[[Any], Any]
    training_loss: Callable[[dict[str, Any]], Tensor]
    preprocess_logits: Callable[[Any, Any], Any] | None
    batch_size: int
    global_batch_size: int
    label_names: Sequence[str]
    folder: Path
    scales: Mapping[str, LabelScale]
    has_own_loss: bool = False
