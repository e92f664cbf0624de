"""How long processes wait for each other, and an error in words for those that wait in vain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout
from transformers import TrainingArguments

#: What torch says when a process has waited too long, and when another has ended. It has no classes of errors for it.
_TOO_LATE = re.compile(r"(?is)gloo.*timed out|timeout caused pair closure|wait timeout after|operation timeout")
_ENDED = re.compile(r"(?is)gloo.*(closed by peer|reset by peer|broken pipe)|remote process exited")
#: What a process was doing, by the function that is being run.
_PLACES = {
    "tokenized_split": "the tokenization of texts, which rank 0 begins",
    "check_ranks": "the comparison of all ranks before training",
    "check_first_batches": "the look at each task's first batch",
    "evaluation_loop": "an evaluation",
    "_save_checkpoint": "saving a checkpoint",
    "end_plan": "the end of an epoch, where α is fitted and the model merged",
    "training_step": "a training step",
}


def apply_timeout(timeout: timedelta) -> None:
    """
    Makes processes that are connected by gloo stop waiting after a time. Then the waiting process raises an error.

    transformers 5 passes `ddp_timeout` on only for other backends, so that on CPUs processes would wait for torch's
    default of 30 minutes.

    Args:
        timeout (`datetime.timedelta`): The time.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        _set_pg_timeout(timeout)


@contextmanager
def explained_waits(args: TrainingArguments, current_step: Callable[[], int] | None = None) -> Iterator[None]:
    """
    Says in words which wait for other processes was in vain in a `with` block. torch's error is the cause.

    Args:
        args (`TrainingArguments`): For `ddp_timeout` and the rank.
        current_step (`Callable[[], int]`, *optional*): Returns the optimizer steps that the run has taken.

    Raises:
        TimeoutError: If this process has waited for longer than `ddp_timeout`.
        ConnectionError: If another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        where = _place(error.__traceback__)
        if current_step is not None:
            where += f" (after {current_step()} optimizer steps)"
        if _TOO_LATE.search(text):
            raise TimeoutError(
                f"rank {args.process_index} waited {args.ddp_timeout} seconds for the other processes in {where}: "
                "look at the logs of the other ranks, or raise `ddp_timeout` if they only need more time"
            ) from error
        if _ENDED.search(text):
            raise ConnectionError(
                f"rank {args.process_index} waited for another process in {where}, but that process has ended: look "
                "at the logs of the other ranks for the reason"
            ) from error
        raise


def _place(traceback: TracebackType | None) -> str:
    """What was being done, in words: the innermost function that is named above."""
    place = "training"
    while traceback is not None:
        place = _PLACES.get(traceback.tb_frame.f_code.co_name, place)
        traceback = traceback.tb_next
    return place
