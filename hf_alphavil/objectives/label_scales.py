"""Which tasks of a run are regressions on standardised labels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn

from ..data import TaskDataset
from ..data.generators import unchanged_generators
from ..methods.logit_losses import SquaredError
from ..methods.objective import Predictions
from ..modeling import MultitaskModel, unwrap_peft
from ..setup.label_scale import LabelScale, scale_of
from ..setup.task_setup import TaskSetup
from .forward import deterministic_mode, loss_of, plain_forward
from .loss import logits_of, to_numpy

if TYPE_CHECKING:
    from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)

#: Rows of which a model's own loss is compared with the squared error.
ROWS_OF_LOSS = 8


def find_label_scales(
    args: MultitaskSettings,
    setup: TaskSetup,
    model: nn.Module,
    accelerator: Accelerator,
    collate: Callable[[list[dict[str, Any]]], Any],
    has_own_loss: bool,
) -> dict[str, LabelScale]:
    """
    Finds the label scales of a run's regressions, from their training rows.

    A regression has one output and the squared error. A head of a [`MultitaskModel`] says so in its configuration. Any
    other model computes its loss on a few rows whose labels are one float each.

    Args:
        args (`MultitaskSettings`): For `regression_scale`.
        setup (`TaskSetup`): The tasks and their rows.
        model (`torch.nn.Module`): The model, without wrappers for distributed training.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        collate (`Callable`): Turns rows into the model's inputs.
        has_own_loss (`bool`): Whether the user's function, or the user's subclass, computes the training loss.

    Returns:
        `dict[str, LabelScale]`: Scales by task, equal on all ranks; empty unless `regression_scale="standardize"`.
    """
    if args.regression_scale != "standardize":
        return {}
    scales, base = {}, unwrap_peft(model)
    with unchanged_generators():
        for task, dataset in setup.train_datasets.items():
            if isinstance(base, MultitaskModel):
                is_regression = _is_native_regression(base, task)
            else:
                is_regression = _has_float_labels(dataset)
            if not is_regression:
                continue
            scale = scale_of(dataset.labels() or ())
            if scale is None:
                logger.warning("Task %r is trained on its labels as they are: they have no finite spread.", task)
            elif has_own_loss or not (
                isinstance(base, MultitaskModel) or _has_squared_error(base, dataset, accelerator, collate)
            ):
                logger.info("Task %r is trained on its labels as they are: its loss is no squared error.", task)
            else:
                scales[task] = scale
                logger.info("Task %r is trained on labels of mean %g and spread %g.", task, scale.mean, scale.spread)
    return scales


def _is_native_regression(model: MultitaskModel, task: str) -> bool:
    config: Any = model.tasks[task].config
    return config.problem_type == "regression" and config.num_labels == 1


def _has_float_labels(dataset: TaskDataset) -> bool:
    name = dataset.label_name
    label = dataset.read(0).get(name) if name is not None and len(dataset) else None
    if isinstance(label, (np.generic, np.ndarray, Tensor)):
        return label.ndim == 0 and torch.as_tensor(label).is_floating_point()
    return isinstance(label, float)


def _has_squared_error(
    model: nn.Module, dataset: TaskDataset, accelerator: Accelerator, collate: Callable[[list[dict[str, Any]]], Any]
) -> bool:
    """Whether a model's own loss of the first rows is the mean squared error of one output."""
    rows = list(range(min(ROWS_OF_LOSS, len(dataset))))
    # FSDP2 moves the model to the device only when it shards it.
    device = next(model.parameters()).device
    try:
        batch = send_to_device(collate(dataset.__getitems__(rows)), device)
        with deterministic_mode(model), torch.no_grad():
            outputs = plain_forward(model, accelerator, batch)
        logits, labels = logits_of(outputs), batch.get("labels")
        if not (isinstance(logits, Tensor) and isinstance(labels, Tensor) and logits.numel() == len(rows)):
            return False
        found = Predictions(rows, to_numpy(logits), to_numpy(labels), loss_of(outputs).item())
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):
        return False  # `check_first_batches` tells what is wrong
    return SquaredError().is_loss_of(found)
