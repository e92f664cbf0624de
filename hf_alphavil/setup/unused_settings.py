"""Warns of settings that nothing reads beside others."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields

from ..methods import METHODS, Method
from ..methods.alpha_optimizers import ALPHA_OPTIMIZERS, GradientDescent, alpha_optimizer_of
from ..settings import MultitaskSettings
from ..settings.alpha import AlphaArguments
from ..settings.weights import WeightArguments

logger = logging.getLogger(__name__)

# Settings by what must be there to read them: a meta set, batches of it, weights that scale steps, starting weights,
# αVIL's plans, a joint phase, forks, stored optimizer states, an α that moves.
_OF_META_SET = ("alpha_data", "alpha_holdout_fraction", "per_device_meta_batch_size")
_OF_META_BATCHES = ("alpha_batch_size",)
_OF_STEPS = ("weight_applies_to",)
_OF_START = ("task_weights",)
_OF_PLANS = (
    "alphavil_preset", "max_auxiliaries_per_epoch", "phase_lengths", "joint_fraction", "target_phase", "merge_deltas",
    "rounds_per_epoch", "final_target_epochs",
)  # fmt: skip
_OF_MIXTURES = ("task_sampling", "sampling_temperature")
_OF_FORKS = ("phase_optimizer_state", "delta_device", "delta_dtype")
_OF_STORED_STATES = ("optimizer_state_device", "optimizer_state_dtype")
_OF_FIT = (
    "alpha_optimizer", "alpha_learning_rate", "alpha_tolerance", "alpha_granularity", "alpha_l1", "alpha_l2",
    "alpha_min", "alpha_max", "alpha_batch_size", "max_weight_change",
)  # fmt: skip


def unread_settings(method: type[Method]) -> list[str]:
    """
    The multitask settings that a method does not read, whatever the others are.

    Args:
        method (`type[Method]`): The method.
    """
    of_alpha = [entry.name for group in (AlphaArguments, WeightArguments) for entry in fields(group)]
    others = (*_OF_META_SET, *_OF_META_BATCHES, *_OF_STEPS, *_OF_START)
    unread = [name for name in of_alpha if name not in others]
    return [
        *([] if method.fits_alpha else (*unread, *_OF_PLANS)),
        *([] if method.weighs_steps else _OF_STEPS),
        *([] if method.starts_from_task_weights else _OF_START),
        *([] if method.needs_meta_set else _OF_META_SET),
        *([] if method.draws_meta_batches else _OF_META_BATCHES),
        *([] if method.forks else _OF_FORKS),
        *([] if method.separates_phases else _OF_STORED_STATES),
        *([] if method.mixes_by_sampling else _OF_MIXTURES),
    ]


def warn_of_unused_settings(args: MultitaskSettings, tokenizes: bool) -> None:
    """
    Warns of settings that the user has given and that have no effect beside the others. Each is told once.

    Args:
        args (`MultitaskSettings`): The settings.
        tokenizes (`bool`): Whether the run tokenises rows. It does not if the user has tokenised those of all tasks.
    """
    told: set[str] = set()
    for what, names in [*_unread(args), *_unread_beside_rows(tokenizes)]:
        given = [name for name in names if name in args.given and name not in told]
        if given:
            settings = ", ".join(f"{name}={getattr(args, name)!r}" for name in given)
            logger.warning("%s %s, which has no effect.", what, settings)
        told.update(given)


def _unread(args: MultitaskSettings) -> Iterator[tuple[str, Sequence[str]]]:
    """The first words of each warning, and the settings that it is about."""
    method = METHODS[args.method]
    yield f"The method {args.method!r} does not read", unread_settings(method)
    if method.fits_alpha:
        yield from _unread_by_alpha(args)
    if not args.bf16:
        yield "A run without bf16=True does not read", ["alpha_autocast"]
    if args.alpha_data != "train_holdout":
        yield f"alpha_data={args.alpha_data!r} does not read", ["alpha_holdout_fraction"]
    if args.prune_below is None:
        yield "A run without prune_below does not read", ["prune_patience"]
    if method.forks and args.phase_optimizer_state == "reset":
        yield "phase_optimizer_state='reset' keeps no state between phases and does not read", _OF_STORED_STATES
    if args.task_sampling != "temperature" and not (method.fits_alpha and args.phase_lengths == "temperature"):
        yield f"task_sampling={args.task_sampling!r} does not read", ["sampling_temperature"]
    if not method.fits_alpha and args.task_sampling == "weights":
        yield "task_sampling='weights' scales no step and does not read", _OF_STEPS
    if not method.changes_weights and args.task_weights is None:
        yield f"The method {args.method!r} without task_weights has weights of 1 and does not read", _OF_STEPS
    if args.resolved_length_grouping == "off":
        yield "length_grouping='off' does not read", ["length_column_name"]


def _unread_beside_rows(tokenizes: bool) -> Iterator[tuple[str, Sequence[str]]]:
    if not tokenizes:
        yield "A run whose rows you have all tokenised, to a length of your own, does not read", ["max_length"]


def _unread_by_alpha(args: MultitaskSettings) -> Iterator[tuple[str, Sequence[str]]]:
    """What a method that fits α does not read beside other settings."""
    if args.alpha_steps == 0:
        yield "alpha_steps=0 fits no α and does not read", _OF_FIT
    elif args.alpha_steps <= GradientDescent.STEPS_OF_GAIN:
        yield f"alpha_steps={args.alpha_steps}, too few to end early, does not read", ["alpha_tolerance"]
    optimizer = alpha_optimizer_of(args)
    falls_back = ", unless it falls back to 'sgd'," if args.alpha_optimizer == "auto" and optimizer == "secant" else ""
    yield f"alpha_optimizer={args.alpha_optimizer!r}{falls_back} does not read", ALPHA_OPTIMIZERS[optimizer].unread
    if args.alpha_objective == "entropy":
        yield "alpha_objective='entropy' reads no labels, and therefore not", ["measure_contributions"]
    if args.joint_fraction == 0:
        what = "joint_fraction=0, without a joint phase, does not read"
        yield what, ["task_sampling"] if args.phase_lengths == "temperature" else _OF_MIXTURES
    normalization = args.resolved_normalize_task_weights
    if args.target_phase == "last" and normalization != "all":
        what = f"target_phase='last' with normalize_task_weights={normalization!r} keeps the target's weight and"
        yield f"{what} does not read", ["min_target_weight"]
