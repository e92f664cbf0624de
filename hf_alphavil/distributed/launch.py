"""Starts the processes that `accelerate launch --cpu --num_processes n` was asked for, and ends a process cleanly."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence

import psutil
import torch.distributed as dist

logger = logging.getLogger(__name__)


def start_missing_processes() -> None:
    """
    Replaces this process by `n` of them where `accelerate launch --cpu --num_processes n` started one.

    accelerate starts several processes on CPUs through MPI alone; without it, it silently starts one
    (huggingface/accelerate#2741, seen in 1.15). The processes are started by torch's own launcher, as accelerate does
    for GPUs. Does nothing in any other situation, and nothing in the processes that it starts.

    Raises:
        ValueError: If several processes were asked for but their number cannot be read.
    """
    launched_by_accelerate = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1")
    # accelerate names a rendezvous when more than one process was asked for; whoever started them names a rank.
    several = "MASTER_ADDR" in os.environ and not any(
        name in os.environ
        for name in ("RANK", "LOCAL_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
    )
    if not (launched_by_accelerate and several):
        return
    parent = psutil.Process().parent()
    count = requested_processes(parent.cmdline() if parent is not None else [])
    if count is None:
        raise ValueError(
            "several processes were asked for, but `accelerate launch --cpu` starts one: use "
            "`accelerate launch --multi_gpu --num_processes N ... --use_cpu`, which starts N with gloo"
        )
    logger.warning("`accelerate launch --cpu` starts one process: starting %d with torch's launcher", count)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count)]
    command += ["--master_addr", os.environ["MASTER_ADDR"], "--master_port", os.environ["MASTER_PORT"], *sys.argv]
    sys.stderr.flush()
    os.execv(sys.executable, command)


def requested_processes(command: Sequence[str]) -> int | None:
    """
    Reads `--num_processes` from a command line.

    Args:
        command (`Sequence[str]`): The words of an `accelerate launch` command.

    Returns:
        `int`, *optional*: The number, or `None` where it is not said.
    """
    for i, word in enumerate(command):
        name, _, value = word.partition("=")
        if name in ("--num_processes", "--num-processes"):
            value = value or (command[i + 1] if i + 1 < len(command) else "")
            return int(value) if value.isdigit() else None
    return None


def end_process_group() -> None:
    """
    Joins the threads of torch's process group; the last thing that a script of several processes does.

    A gloo thread drops the tensors of its last collective a moment after the collective has ended. Where the
    interpreter has begun to finalise by then, that thread cannot take the GIL and the process aborts, now and then
    ("terminate called without an active exception", torch 2.13 on Python 3.11). The threads live as long as the group
    and every DDP wrapper on it: call this where no trainer is referenced any more. Does nothing with one process.
    """
    # Wrappers first (a trainer is part of reference cycles): the last owner of a group joins its threads, and a DDP
    # wrapper that is the last does so with the GIL in hand, for which a thread may be waiting.
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
