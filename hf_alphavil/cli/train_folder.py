"""The output folder of a run of the script: a finished or stopped run in it is not overwritten by mistake."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..checkpointing.folder import checkpoints
from ..script_arguments import DriverArguments, DriverTrainingArguments

#: What `alphavil train` writes when training has ended.
FINISHED = "train_results.json"


def check_folder_is_free(driver: DriverArguments, args: DriverTrainingArguments) -> None:
    """
    Refuses to train anew in a folder that holds a run, and in a run that a launcher has restarted.

    Args:
        driver (`DriverArguments`): For `overwrite_output_dir`.
        args (`DriverTrainingArguments`): The training arguments.

    Raises:
        ValueError:
            If the folder holds a run, and the user has not said what should become of it. If `torchrun` or
            `accelerate launch --max_restarts` has restarted the run, whose own checkpoints would be removed.
    """
    if not args.do_train or args.resume_from_checkpoint is not None:
        return
    folder = Path(str(args.output_dir))
    if driver.overwrite_output_dir:
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
        if restarts > 0 and (found := checkpoints(folder)):
            raise ValueError(
                f"the launcher has restarted this run (restart {restarts}), and --overwrite_output_dir would remove "
                f"the checkpoints of its last attempt ({found[0].name}): start it again with "
                "--resume_from_checkpoint auto and without --overwrite_output_dir"
            )
        return
    instead = "pass another --output_dir, or --overwrite_output_dir to train anew there"
    if (folder / FINISHED).is_file():
        raise ValueError(f"output_dir={str(folder)!r} holds a finished run ({FINISHED}): {instead}")
    if found := checkpoints(folder):
        raise ValueError(
            f"output_dir={str(folder)!r} holds a run that was stopped ({found[0].name}): pass "
            f"--resume_from_checkpoint auto to go on with it, {instead}"
        )


class RemoveCheckpoints(TrainerCallback):
    """Removes the checkpoints of an earlier run when training starts: a later resume would go on from them."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            for folder in checkpoints(args.output_dir):
                shutil.rmtree(folder)
