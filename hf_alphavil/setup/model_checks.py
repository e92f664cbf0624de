"""Checks the model before training."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ..distributed.refusals import check_adapters, check_dtypes, check_tied_weights
from ..methods import METHODS
from ..modeling import MultitaskModel, unwrap_peft
from ..settings.checks import require
from .checks import check_method, check_optimizer_steps, check_parameters, check_precision, check_scaled_loss

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings


def check_model(model: nn.Module, accelerator: Accelerator, args: MultitaskSettings, scaled_loss: str | None) -> Any:
    """
    Checks that a run can train a model.

    Args:
        model (`torch.nn.Module`): The model that the user passed.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        args (`MultitaskSettings`): The settings.
        scaled_loss (`str`, *optional*): What says that the user's loss is scaled for gradient accumulation.

    Returns:
        `torch.nn.Module`: The bare model without adapters.

    Raises:
        ValueError: If it cannot.
    """
    check_wrapper(model)
    bare, method = accelerator.unwrap_model(model), METHODS[args.method]
    check_forward(bare)
    check_parameters(unwrap_peft(bare))
    check_precision(accelerator)
    check_adapters(accelerator, bare)
    check_dtypes(accelerator, bare)
    check_tied_weights(accelerator, bare)
    check_method(accelerator, method)
    check_optimizer_steps(args, method)
    check_scaled_loss(args, method, scaled_loss)
    has_native_heads = isinstance(unwrap_peft(bare), MultitaskModel)
    instead = "'multitask' or leave it out: only a MultitaskModel has a head that can be exported"
    require(args, "hub_export", has_native_heads or args.hub_export != "target", instead)
    return unwrap_peft(bare)


def check_wrapper(model: nn.Module) -> None:
    """
    Refuses models in wrappers that Trainer adds by itself. Saved weights would have other names.

    Args:
        model (`torch.nn.Module`): The model that the user passed.

    Raises:
        ValueError: For `DataParallel` or `DistributedDataParallel`, and for a [`MultitaskModel`] in or around a module
            that `torch.compile` returned.
    """
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        raise ValueError(
            f"the model is wrapped in {type(model).__name__}: pass the model inside it (`model.module`), and start "
            "one process per device with `accelerate launch`"
        )
    if any(isinstance(module, MultitaskModel) for module in model.modules()):
        for name, module in model.named_modules():
            if hasattr(module, "_orig_mod"):
                raise ValueError(
                    f"{f'the module {name} of the model' if name else 'the model'} is the result of torch.compile: "
                    "pass the model as it was before, with torch_compile=True"
                )


def check_forward(model: nn.Module) -> None:
    """
    Refuses models that do not tell tasks apart, such as a plain `AutoModelForSequenceClassification`.

    Args:
        model (`torch.nn.Module`): The bare model.

    Raises:
        ValueError: If its `forward` has no parameter `task`.
    """
    while (inner := unwrap_peft(getattr(model, "_orig_mod", model))) is not model:
        model = inner
    if isinstance(model, MultitaskModel):
        return
    parameter = inspect.signature(model.forward).parameters.get("task")
    if parameter is None or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise ValueError(
            f"{type(model).__name__}.forward has no parameter `task`, so all tasks would share one head: build a "
            "model with a head for each task by `MultitaskModel.from_encoder(name_or_path, tasks=tasks)`, or name "
            "`task` in the signature of your module's forward, as `forward(self, task, input_ids=None, labels=None)`"
        )
