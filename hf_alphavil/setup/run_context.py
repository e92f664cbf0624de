"""What a run may use of its trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .task_setup import TaskSetup

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings


@dataclass(frozen=True)
class RunContext:
    """
    What one `train()` call may use of its trainer. Everything that trains, fits α or writes the state of a run takes
    this and does not know the trainer.

    The optimizer and the learning-rate scheduler are not in it: Trainer makes them later, and the run gets them by
    `attach(optimizer, scheduler)`.

    Args:
        args (`MultitaskSettings`): The settings.
        accelerator (`accelerate.Accelerator`): Trainer's.
        model (`torch.nn.Module`): The model, bare: without DDP's wrapper. FSDP2 shards it in place.
        setup (`TaskSetup`): Datasets, metrics and heads by task.
        collate (`Callable`): Turns examples of one task, or of several, into a batch.
        prepare_inputs (`Callable`): Moves a batch to the device.
        training_loss (`Callable`): From a batch, the training loss of the bare model, with autocast and gradients.
        preprocess_logits (`Callable`, *optional*): The user's `preprocess_logits_for_metrics`.
        batch_size (`int`): Rows per process and forward pass.
        global_batch_size (`int`): Rows of a task per optimizer step, over accumulation and processes.
        label_names (`Sequence[str]`): Inputs that hold labels; the first is the one that metrics read.
        folder (`Path`): The run's output folder.
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
