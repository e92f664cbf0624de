"""Warns of settings that the method does not read."""

from __future__ import annotations

import logging
from dataclasses import fields

from ..methods import METHODS
from ..methods.alpha_optimizers import ALPHA_OPTIMIZERS
from ..settings import MultitaskSettings
from ..settings.alpha import AlphaArguments
from ..settings.weights import WeightArguments

logger = logging.getLogger(__name__)

#: The settings of the meta set, which other methods have too, and of how weights act on steps.
_OF_META_SET = ("alpha_data", "alpha_holdout_fraction", "alpha_batch_size", "per_device_meta_batch_size")
_OF_STEPS = ("weight_applies_to",)


def unread_settings(method: str) -> list[str]:
    """
    The settings of α, of its weights and of the meta set that a method does not read.

    Args:
        method (`str`): The method.
    """
    of_alpha = [entry.name for group in (AlphaArguments, WeightArguments) for entry in fields(group)]
    unread = [name for name in of_alpha if name not in (*_OF_META_SET, *_OF_STEPS)]
    return [
        *([] if METHODS[method].fits_alpha else unread),
        *([] if METHODS[method].needs_meta_set else _OF_META_SET),
    ]


def warn_of_unused_settings(args: MultitaskSettings) -> None:
    """
    Warns that settings of α, of its weights or of the meta set have no effect with a method or an optimizer of α.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    if given := [f"{name}={getattr(args, name)!r}" for name in unread_settings(args.method) if name in args.given]:
        logger.warning("The method %r does not read %s, which has no effect.", args.method, ", ".join(given))
    unread = ALPHA_OPTIMIZERS[args.alpha_optimizer].unread if METHODS[args.method].fits_alpha else ()
    if given := [f"{name}={getattr(args, name)!r}" for name in unread if name in args.given]:
        logger.warning(
            "alpha_optimizer=%r does not read %s, which has no effect.", args.alpha_optimizer, ", ".join(given)
        )
