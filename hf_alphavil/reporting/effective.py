"""The values that took effect for settings that a run resolves by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..methods.alpha_optimizers import alpha_optimizer_of
from ..settings.presets import last_epochs
from .history import HistoryEntry, trains_target_alone

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


def effective_settings(
    args: MultitaskSettings, history: Sequence[HistoryEntry], batch_size: int | None = None
) -> dict[str, Any]:
    """
    The settings whose value, such as `auto` or `None`, does not say what the run did, with the value that took effect.

    Args:
        args (`MultitaskSettings`): The run's settings.
        history (`Sequence[dict]`): `trainer.history`.
        batch_size (`int`, *optional*):
            `trainer.state.train_batch_size`, the rows of a process, which `auto_find_batch_size` makes fewer.
    """
    resolved: dict[str, Any] = {}
    if args.alpha_optimizer == "auto":
        taken = next((name for entry in reversed(history) if (name := entry.get("alpha_optimizer"))), None)
        resolved["alpha_optimizer"] = f"auto ({taken or alpha_optimizer_of(args)})"
    if args.final_target_epochs is None:
        trained = sum(map(trains_target_alone, history))
        resolved["final_target_epochs"] = trained if history else last_epochs(None, math.ceil(args.num_train_epochs))
    if args.auto_find_batch_size and batch_size not in (None, args.train_batch_size):
        took_effect = batch_size // max(1, args.n_gpu)
        resolved["per_device_train_batch_size"] = f"{args.per_device_train_batch_size} ({took_effect} took effect)"
    return resolved
