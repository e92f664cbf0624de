"""SIGTERM, as a scheduler sends it before it takes a machine away: a checkpoint is written, and training stops."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

if TYPE_CHECKING:
    from .task_checkpoints import TaskCheckpoints

logger = logging.getLogger(__name__)


class PreemptionCallback(TrainerCallback):
    """
    Takes the place of Trainer's own just-in-time checkpoint (`enable_jit_checkpoint`) in multitask mode.

    Trainer's may save between a step's backward pass and its update, and each rank by its own clock. Here the step
    that is running is finished, all ranks agree on it, and the run resumes bit for bit. With several processes that
    agreement exchanges one number a step. A second SIGTERM ends the process at once.

    Args:
        trainer (`TaskCheckpoints`): The trainer; its `preempted` is set when a run has been stopped so.
    """

    def __init__(self, trainer: TaskCheckpoints) -> None:
        self.trainer = trainer
        self._requested = False
        self._saved = False
        self._previous: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._requested = self._saved = self.trainer.preempted = False
        if threading.current_thread() is not threading.main_thread():
            logger.warning("SIGTERM writes no checkpoint: only a process's main thread may catch signals")
            return
        self._previous = signal.signal(signal.SIGTERM, self._catch)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        logger.warning("SIGTERM: a checkpoint is written after the running step, then training stops")
        self._requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _all_agree(self, args: Any) -> bool:
        if args.world_size == 1:
            return self._requested
        flag = torch.tensor([float(self._requested)], device=args.device)
        return bool(self.trainer.accelerator.gather(flag).any())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._all_agree(args):
            return
        self.trainer.preempted = control.should_training_stop = True
        # At an epoch's end the checkpoint waits for the evaluation that is due there.
        self._saved = control.should_save = self.trainer.runner.step > 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.trainer.preempted:
            return
        control.should_save = not self._saved
        if self._saved:
            # Trainer takes a stop inside an epoch for its end, at which nothing is due yet.
            control.should_log = control.should_evaluate = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None
