"""Checks of Trainer's own settings against the model, the tasks and their metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..distributed.refusals import check_setup
from ..settings import MultitaskSettings
from ..settings.checks import require
from ..settings.trainer_fields import CHECKPOINTING, check_ddp_fields, check_trainer_fields
from .task_setup import TaskSetup


def check_model_suits(args: MultitaskSettings, model: nn.Module | None) -> None:
    """
    Refuses settings that need a Hugging Face model if the model is any other module.

    Args:
        args (`MultitaskSettings`): The settings.
        model (`torch.nn.Module`, *optional*): The model to train, if it exists already.

    Raises:
        ValueError: If the model lacks what a setting needs.
    """
    if model is None:
        return
    enables = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    needs = (
        ("label_smoothing_factor", ("config",), "0.0, or let the model compute a smoothed loss"),
        ("neftune_noise_alpha", ("get_input_embeddings",), "None"),
        (CHECKPOINTING, enables, "False, or call torch.utils.checkpoint in the model"),
    )
    for name, attributes, instead in needs:
        suits = not getattr(args, name) or any(hasattr(model, attribute) for attribute in attributes)
        lacks = f"{type(model).__name__} has no `{attributes[0]}`, as Hugging Face models have"
        require(args, name, suits, f"{instead} ({lacks})")


def settle_arguments(args: MultitaskSettings) -> None:
    """
    Settles settings that may have been set after the arguments were made, and refuses launches and values of Trainer's
    settings that do not suit several tasks, whatever the tasks are.

    Args:
        args (`MultitaskSettings`): The settings.

    Raises:
        ValueError: If a launch is not supported, or a value is not allowed.
    """
    args.settle()
    check_setup(args)
    check_trainer_fields(args)


def check_task_settings(args: MultitaskSettings, setup: TaskSetup) -> None:
    """
    Refuses Trainer's settings that cannot train or evaluate these tasks.

    Args:
        args (`MultitaskSettings`): The settings.
        setup (`TaskSetup`): The tasks and their metrics.

    Raises:
        ValueError: If a setting does not fit.
    """
    check_ddp_fields(args, len(setup.train_datasets))
    _check_evaluation(args, setup)


def _check_evaluation(args: MultitaskSettings, setup: TaskSetup) -> None:
    """Refuses settings of evaluation that the metrics, or the score that α is fitted on, cannot follow."""
    scored = {name: function for name, function in setup.metrics.items() if name in setup.eval_datasets}
    if args.prediction_loss_only:
        scored = {}
    packaged = [name for name in scored if not setup.has_own_metrics(name)]
    no_merge = f"True: the metrics of {', '.join(packaged)} need all predictions in one array"
    require(args, "eval_do_concat_batches", args.eval_do_concat_batches or not packaged, no_merge)
    whole = [name for name, function in scored.items() if not _takes(function, "compute_result")]
    no_parts = (
        f"False: the metrics of {', '.join(whole)} take no `compute_result`, so they need all predictions at once"
    )
    require(args, "batch_eval_metrics", not args.batch_eval_metrics or not whole, no_parts)
    if args.alpha_objective == "metric":
        why = "with alpha_objective='metric', which gives the metric the predictions of the meta set as one array"
        require(args, "eval_do_concat_batches", args.eval_do_concat_batches, f"True {why}")
        require(args, "batch_eval_metrics", not args.batch_eval_metrics, f"False {why}")
        require(args, "include_for_metrics", not args.include_for_metrics, f"[] {why} and nothing else")


def check_batch(args: MultitaskSettings, setup: TaskSetup, collate: Callable, model: nn.Module) -> None:
    """
    Refuses names of inputs that batches of the target do not have.

    Args:
        args (`MultitaskSettings`): For `label_names` and `include_for_metrics`.
        setup (`TaskSetup`): The tasks.
        collate (`Callable`): Turns rows into the model's inputs.
        model (`torch.nn.Module`): The bare model, for its `main_input_name`.

    Raises:
        ValueError: If a batch lacks an input.
    """
    rows = setup.train_datasets.get(setup.target) or setup.eval_datasets.get(setup.target)
    reads_inputs = "inputs" in args.include_for_metrics
    if not rows or not (args.label_names or reads_inputs):
        return
    inputs = [name for name in collate([rows[0]]) if name != "task"]
    has = f"a batch of {setup.target!r} has {', '.join(inputs)}"
    require(args, "label_names", set(args.label_names or ()) <= set(inputs), f"inputs that exist: {has}")
    main = getattr(model, "main_input_name", "input_ids")
    advice = f"it without 'inputs', or name the model's first input in its attribute `main_input_name`: {has}"
    require(args, "include_for_metrics", not reads_inputs or main in inputs, advice)


def _takes(function: Callable, name: str) -> bool:
    try:
        parameters: Sequence[Any] = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have no signature
        return True
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
