"""The folder of one run: locked, checked and cleared before the run writes to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers.trainer_utils import SaveStrategy

from ..distributed.agreement import raise_together
from .folder import warn_of_trainers_checkpoints
from .run_lock import run_lock
from .staging import check_output_dir, clear_staging, new_staging_name

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@contextlib.contextmanager
def own_run_dir(accelerator: Accelerator, args: MultitaskSettings, run_dir: str) -> Iterator[str]:
    """
    Locks a run's folder for a `with` block, and checks that checkpoints can be written to it. All processes must call
    it.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
        args (`MultitaskSettings`): The settings.
        run_dir (`str`): The run's folder.

    Yields:
        `str`: The path of the run's staging folder below `run_dir`, the same on all processes.

    Raises:
        ValueError: On all processes, if another run writes to the folder, or if it cannot hold checkpoints.
    """
    saves, problem = saves_checkpoints(args), None
    with contextlib.ExitStack() as held:
        if args.should_save:
            try:
                is_locked = held.enter_context(run_lock(run_dir))
                if saves:
                    check_output_dir(run_dir)
                    warn_of_trainers_checkpoints(run_dir)
                if saves and is_locked:  # no other run can be writing
                    clear_staging(run_dir)
            except (ValueError, OSError) as error:
                problem = str(error)
        (staging_name,) = broadcast_object_list([new_staging_name()])  # all ranks write to one folder
        raise_together(problem)
        if saves and args.world_size > 1 and not args.save_on_each_node:
            _check_shared(accelerator, args, Path(run_dir), staging_name)
        yield staging_name


def saves_checkpoints(args: MultitaskSettings) -> bool:
    """
    Whether a run writes checkpoints by itself.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    return args.save_strategy != SaveStrategy.NO or args.enable_jit_checkpoint


def _check_shared(accelerator: Accelerator, args: MultitaskSettings, run_dir: Path, staging_name: str) -> None:
    """Checks that all ranks see one folder, because each writes its part of a checkpoint."""
    probe, problem = run_dir / staging_name, None
    try:
        if accelerator.is_main_process:
            probe.mkdir(parents=True)
        accelerator.wait_for_everyone()
        if not probe.is_dir():
            problem = (
                f"rank {args.process_index} does not see {os.path.abspath(run_dir)} of rank 0, but every rank writes "
                "its part of a checkpoint: pass an `output_dir` on a disk that all machines share, or "
                "save_on_each_node=True"
            )
        raise_together(problem)
    finally:
        if accelerator.is_main_process:
            clear_staging(run_dir, staging_name)
