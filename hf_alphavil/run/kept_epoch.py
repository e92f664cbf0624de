"""Marks the epoch of the model that a run keeps."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerState

from ..checkpointing.run_state import load_run_state


def mark_kept_epoch(history: list[dict[str, Any]], state: TrainerState) -> None:
    """
    Marks in the history which epoch the best model is from, after Trainer has loaded it.

    Every entry gets `kept`, which is true for the last epoch that was finished when the best checkpoint was written.

    Args:
        history (`list[dict]`): One entry per finished epoch, changed in place.
        state (`TrainerState`): Trainer's state, with a best checkpoint.
    """
    finished = _finished_epochs(state)
    for number, entry in enumerate(history, start=1):
        entry["kept"] = number == finished


def _finished_epochs(state: TrainerState) -> int:
    try:
        return len(load_run_state(str(state.best_model_checkpoint))["history"])
    except ValueError:  # the checkpoint holds only the model
        logged = [entry["epoch"] for entry in state.log_history if entry.get("step") == state.best_global_step]
        return math.floor(logged[-1] + 1e-6)
