"""The functions, callbacks and classes of the user's own on which a run's result depends."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

from torch import nn
from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_callback import DefaultFlowCallback, ExportableState, PrinterCallback

from ..tasks import Task
from .code_description import describe_code, describe_constants, own_classes
from .resume_rules import RESTORED

#: Settings choose these callbacks, or they act on logs alone.
_NOT_COMPARED = (DefaultFlowCallback, PrinterCallback, ProgressCallback)
_PACKAGES_NOT_COMPARED = ("hf_alphavil", "transformers.integrations", "transformers.utils")


def describe_own_code(trainer: Any, model: nn.Module) -> dict[str, Any]:
    """
    Describes a trainer's functions, callbacks and classes, as [`describe_code`] does.

    Args:
        trainer (`MultitaskTrainer`): The trainer.
        model (`torch.nn.Module`): Its model, without wrappers for distributed training.
    """
    found = {f"data collator of {name}": one for name, one in trainer.data_collator.collators.items()}
    metrics = trainer.task_setup.metrics
    found |= {f"compute_metrics of {name}": one for name, one in metrics.items() if not _is_of_task(one)}
    for name in ("compute_loss_func", "preprocess_logits_for_metrics", "optimizer_cls_and_kwargs"):
        found[name] = getattr(trainer, name)
    if not getattr(trainer, "_created_lr_scheduler", False):
        found["lr_scheduler"] = trainer.lr_scheduler
    if trainer.optimizer_cls_and_kwargs is None and own_classes(type(trainer.optimizer)):
        found["optimizer"] = type(trainer.optimizer)
    described: dict[str, Any] = {name: describe_code(value) for name, value in found.items() if value is not None}
    described |= {
        f"compute_metrics of {name}": _describe_metrics(one.__self__)
        for name, one in metrics.items()
        if _is_of_task(one)
    }
    modules = [describe_constants(module) for module in model.modules() if own_classes(type(module))]
    described["modules of your own"] = list(dict.fromkeys(modules))
    described["class of the trainer"] = describe_code(type(trainer))
    compared = [callback for callback in trainer.callback_handler.callbacks if _is_compared(callback)]
    described["callbacks"] = [
        describe_code(type(callback) if isinstance(callback, ExportableState) else callback) for callback in compared
    ]
    return described | dict(_restored(compared))


def _is_of_task(function: Any) -> bool:
    return isinstance(function, MethodType) and isinstance(function.__self__, Task)


def _describe_metrics(task: Task) -> str:
    """What the scores of a task depend on. Its rows are compared elsewhere, and a run need not load all splits."""
    names = ("metrics", "main_metric", "greater_is_better", "kind", "problem_type", "labels")
    settings = [f"{name}={describe_code(getattr(task, name))}" for name in names]
    return f"{describe_code(type(task))}({', '.join(settings)})"


def _restored(callbacks: list[TrainerCallback]) -> Iterator[tuple[str, Any]]:
    stateful = [callback for callback in callbacks if isinstance(callback, ExportableState)]
    for number, callback in enumerate(stateful, start=1):
        yield f"{RESTORED} {number}, {type(callback).__name__}", describe_code(callback.state().get("args"))


def _is_compared(callback: TrainerCallback) -> bool:
    return not isinstance(callback, _NOT_COMPARED) and not type(callback).__module__.startswith(_PACKAGES_NOT_COMPARED)
