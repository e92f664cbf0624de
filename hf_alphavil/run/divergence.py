"""The error of a run that has diverged, and the checkpoint to resume from."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpointing.folder import resumable_checkpoints
from ..checkpointing.run_state import load_run_state


class DivergenceError(RuntimeError):
    """Raised when losses or parameters became NaN or infinite and no finite model is left to continue from."""


def diverged(what: str, output_dir: str | os.PathLike[str], epoch: int, step: int) -> DivergenceError:
    """
    Creates the error of a run that diverged. Its message gives the last good checkpoint.

    Args:
        what (`str`): What became NaN or infinite, and where.
        output_dir (`str` or `os.PathLike`): The run's output folder.
        epoch (`int`): The epoch that failed, from 0.
        step (`int`): The last step of that epoch, from 0, that started from finite parameters.
    """
    good = last_checkpoint_before(output_dir, epoch, step)
    resume = (
        f"The last good checkpoint is {good}: resume from it" if good else "No good checkpoint was written: start anew"
    )
    return DivergenceError(
        f"{what}, and no finite model is left to continue from. {resume}, with a lower `learning_rate`, with gradient "
        "clipping (`max_grad_norm`), or without the rows that cause it"
    )


def last_checkpoint_before(output_dir: str | os.PathLike[str], epoch: int, step: int) -> Path | None:
    """
    Finds the last intact checkpoint that was written at or before a step of a run.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder.
        epoch (`int`): The epoch, from 0.
        step (`int`): The step within the epoch, from 0.

    Returns:
        `Path`, *optional*: The checkpoint's folder, or `None` if there is no such checkpoint.
    """
    for folder in resumable_checkpoints(output_dir):
        state = load_run_state(folder)
        if (state["epoch"], state["step"]) <= (epoch, step):
            return folder
    return None
