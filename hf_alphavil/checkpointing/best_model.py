"""Finds the best checkpoint of a run that resumes, also after its folder was moved or copied."""

from __future__ import annotations

import os
from pathlib import Path

from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME


def find_best_checkpoint(checkpoint: str | os.PathLike[str], is_loaded_at_end: bool) -> str | None:
    """
    Finds the best checkpoint that a run had when it wrote another one.

    The folder beside that other checkpoint comes before the recorded path, which names the folder that a copy was
    made of.

    Args:
        checkpoint (`str` or `os.PathLike`): The checkpoint that the run resumes from.
        is_loaded_at_end (`bool`): Whether the run will load the best checkpoint (`load_best_model_at_end`).

    Returns:
        `str`, *optional*: The folder, or `None` if there is none.

    Raises:
        ValueError: If the run will load the best checkpoint, and it is gone.
    """
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    if state.best_model_checkpoint is None:
        return None
    recorded = Path(state.best_model_checkpoint)
    beside = Path(os.path.abspath(checkpoint)).parent / recorded.name
    for folder in (Path(checkpoint).parent / recorded.name, recorded):
        if folder.is_dir():
            return str(folder)
    if is_loaded_at_end:
        raise ValueError(
            f"the best model so far is that of step {state.best_global_step} "
            f"(load_best_model_at_end=True, score {state.best_metric}), but its checkpoint is neither {beside} nor "
            f"{recorded}: put it back beside {checkpoint}, or pass load_best_model_at_end=False"
        )
    return None
