"""Saves a checkpoint and stops on SIGTERM, which cluster schedulers send before they take a machine away."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

logger = logging.getLogger(__name__)

#: With `phase_parallel`, processes check for SIGTERM together only once in this number of steps, because every check
#: makes all groups wait for the slowest.
STEPS_BETWEEN_AGREEMENTS = 10


class PreemptionCallback(TrainerCallback):
    """
    Replaces Trainer's just-in-time checkpoint (`enable_jit_checkpoint`) in multitask mode.

    Trainer's may save between a step's backward pass and its update, and at a different step on every rank. Here the
    current step is finished, all ranks stop at the same step, and the run resumes bit for bit. With several processes,
    agreeing on that step exchanges one number per step (per ten steps with `phase_parallel`). A second SIGTERM ends
    the process at once.

    Args:
        gather (`Callable[[torch.Tensor], torch.Tensor]`): Concatenates a tensor over all processes.
        agreement_is_due (`Callable[[], bool]`):
            Whether the processes exchange their stop requests at the current step.
        is_inside_epoch (`Callable[[], bool]`): Whether the current step is not the last of its epoch.

    Attributes:
        preempted (`bool`): Whether SIGTERM ended the last `train()`.
        save_due (`bool`): Whether a checkpoint must be written now. The trainer clears it.
    """

    def __init__(
        self,
        gather: Callable[[torch.Tensor], torch.Tensor],
        agreement_is_due: Callable[[], bool],
        is_inside_epoch: Callable[[], bool],
    ) -> None:
        self.gather = gather
        self.agreement_is_due = agreement_is_due
        self.is_inside_epoch = is_inside_epoch
        self.preempted = False
        self.save_due = False
        self._requested = False
        self._agreed = False
        self._saved = False
        self._previous: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._requested = self._agreed = self._saved = self.preempted = self.save_due = False
        if args.save_only_model:
            logger.warning("save_only_model=True: no run can resume from the checkpoint that is saved on SIGTERM")
        if threading.current_thread() is not threading.main_thread():
            logger.warning("SIGTERM will not save a checkpoint: only the main thread of a process can handle signals")
        elif self._previous is None:  # auto_find_batch_size may begin training again
            self._previous = signal.signal(signal.SIGTERM, self._catch)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logger.warning("SIGTERM: training stops after the current step and saves a checkpoint")

    def restore_handler(self) -> None:
        """Restores the SIGTERM handler that was set before training. Called however training ends."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def agree(self, args: Any) -> bool:
        """
        `bool`: Whether any process has received SIGTERM. All processes must call it.

        Args:
            args (`TrainingArguments`): The settings.
        """
        self._agreed = self._agreed or self._requested
        if args.world_size > 1:
            self._agreed = bool(self.gather(torch.tensor([float(self._agreed)], device=args.device)).any())
        return self._agreed

    def _all_agree(self, args: Any) -> bool:
        # After an interrupted α step, all processes agree already.
        return self._agreed or ((args.world_size == 1 or self.agreement_is_due()) and self.agree(args))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._all_agree(args):
            return
        self.preempted = control.should_training_stop = True
        # At the end of an epoch, the checkpoint waits for the evaluation that is due there.
        self._saved = self.save_due = self.is_inside_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.preempted:
            return
        self.save_due = not self._saved
        if self._saved:
            # Trainer treats a stop inside an epoch as the epoch's end, but nothing is due yet.
            control.should_log = control.should_evaluate = control.should_save = False


def ignore_sigterm_in_worker(worker_id: int, initialise: Callable[[int], None]) -> None:
    """
    Initialises a worker of a data loader and makes it ignore SIGTERM.

    A scheduler sends SIGTERM to all processes of a job. A worker that SIGTERM kills would end the training process
    before that process has saved its checkpoint.

    Args:
        worker_id (`int`): The worker's number.
        initialise (`Callable[[int], None]`): The loader's usual `worker_init_fn`.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    initialise(worker_id)
