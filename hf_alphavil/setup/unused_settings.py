"""Warns of settings that the method does not read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields

from ..methods import METHODS
from ..methods.alpha_optimizers import ALPHA_OPTIMIZERS
from ..settings import MultitaskSettings
from ..settings.alpha import AlphaArguments
from ..settings.weights import WeightArguments

logger = logging.getLogger(__name__)

#: The settings of the meta set, which other methods have too, of how weights act on steps, of how they start, and of
#: αVIL's plans.
_OF_META_SET = ("alpha_data", "alpha_holdout_fraction", "alpha_batch_size", "per_device_meta_batch_size")
_OF_STEPS = ("weight_applies_to",)
_OF_START = ("task_weights",)
_OF_PLANS = ("joint_fraction", "target_phase", "merge_deltas", "rounds_per_epoch", "final_target_epochs")
_OF_FORKS = ("phase_optimizer_state", "delta_device", "delta_dtype")
_OF_STORED_STATES = ("optimizer_state_device", "optimizer_state_dtype")


def unread_settings(method: str) -> list[str]:
    """
    The settings of α, of its weights, of the meta set and of forks that a method does not read.

    Args:
        method (`str`): The method.
    """
    of_alpha = [entry.name for group in (AlphaArguments, WeightArguments) for entry in fields(group)]
    unread = [name for name in of_alpha if name not in (*_OF_META_SET, *_OF_STEPS, *_OF_START)]
    return [
        *([] if METHODS[method].fits_alpha else (*unread, *_OF_PLANS)),
        *([] if METHODS[method].starts_from_task_weights else _OF_START),
        *([] if METHODS[method].needs_meta_set else _OF_META_SET),
        *([] if METHODS[method].forks else _OF_FORKS),
        *([] if METHODS[method].separates_phases else _OF_STORED_STATES),
    ]


def warn_of_unused_settings(args: MultitaskSettings) -> None:
    """
    Warns that settings of α, of its weights, of the meta set or of forks have no effect with other settings.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    method = METHODS[args.method]
    _warn(args, f"The method {args.method!r} does not read", unread_settings(args.method))
    if method.fits_alpha:
        _warn(
            args,
            f"alpha_optimizer={args.alpha_optimizer!r} does not read",
            ALPHA_OPTIMIZERS[args.alpha_optimizer].unread,
        )
    if method.fits_alpha and not args.bf16 and args.alpha_autocast:
        _warn(args, "A run without bf16=True does not read", ["alpha_autocast"])
    if method.fits_alpha and args.alpha_objective == "entropy":
        _warn(args, "alpha_objective='entropy' reads no labels, and therefore not", ["measure_contributions"])
    if method.forks and args.phase_optimizer_state == "reset":
        _warn(args, "phase_optimizer_state='reset' keeps no state between phases and does not read", _OF_STORED_STATES)


def _warn(args: MultitaskSettings, what: str, names: Sequence[str]) -> None:
    if given := [f"{name}={getattr(args, name)!r}" for name in names if name in args.given]:
        logger.warning("%s %s, which has no effect.", what, ", ".join(given))
