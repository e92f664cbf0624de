"""SIGTERM, as a scheduler sends it before it takes a machine away: a checkpoint is written, and training stops."""

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

#: Where groups of processes run phases side by side, agreeing at every step would let each wait for the slowest.
STEPS_BETWEEN_AGREEMENTS = 10


class PreemptionCallback(TrainerCallback):
    """
    Takes the place of Trainer's own just-in-time checkpoint (`enable_jit_checkpoint`) in multitask mode.

    Trainer's may save between a step's backward pass and its update, and each rank by its own clock. Here the step
    that is running is finished, all ranks agree on it, and the run resumes bit for bit. With several processes that
    agreement exchanges one number a step (every tenth with `phase_parallel`). A second SIGTERM ends the process at
    once.

    Args:
        gather (`Callable[[torch.Tensor], torch.Tensor]`): Concatenates a tensor over all processes.
        agreement_is_due (`Callable[[], bool]`): Whether processes agree at the present step.
        is_inside_epoch (`Callable[[], bool]`): Whether the present step is not the last of its epoch.

    Attributes:
        preempted (`bool`): Whether SIGTERM has ended the last `train()`.
        save_due (`bool`): Whether a checkpoint must be written now; the trainer clears it.
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
        self._saved = False
        self._previous: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._requested = self._saved = self.preempted = self.save_due = False
        if args.save_only_model:
            logger.warning("with save_only_model=True no run goes on from the checkpoint that SIGTERM writes")
        if threading.current_thread() is not threading.main_thread():
            logger.warning("SIGTERM writes no checkpoint: only a process's main thread may catch signals")
        elif self._previous is None:  # batch-size search begins training again
            self._previous = signal.signal(signal.SIGTERM, self._catch)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logger.warning("SIGTERM: a checkpoint is written after the running step, then training stops")

    def release(self) -> None:
        """Gives SIGTERM back to who had it before training, however training ended."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def _all_agree(self, args: Any) -> bool:
        if args.world_size == 1:
            return self._requested
        if not self.agreement_is_due():
            return False
        return bool(self.gather(torch.tensor([float(self._requested)], device=args.device)).any())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._all_agree(args):
            return
        self.preempted = control.should_training_stop = True
        # At an epoch's end the checkpoint waits for the evaluation that is due there.
        self._saved = self.save_due = self.is_inside_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.preempted:
            return
        self.save_due = not self._saved
        if self._saved:
            # Trainer takes a stop inside an epoch for its end, at which nothing is due yet.
            control.should_log = control.should_evaluate = control.should_save = False


def start_worker(worker_id: int, initialise: Callable[[int], None]) -> None:
    """
    Starts a loader's worker that lets SIGTERM pass: a scheduler sends it to all processes of a job, and a worker that
    dies of it would take the training process along before its checkpoint is written.

    Args:
        worker_id (`int`): The worker's number.
        initialise (`Callable[[int], None]`): What the worker would start with otherwise.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    initialise(worker_id)
