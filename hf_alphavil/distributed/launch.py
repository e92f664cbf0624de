"""Starts the processes that `accelerate launch --cpu --num_processes n` does not start, and ends a process cleanly."""

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
    Replaces this process with `n` processes if `accelerate launch --cpu --num_processes n` started only this one.

    accelerate starts several processes on CPUs only through MPI. Without MPI it silently starts one
    (huggingface/accelerate#2741, seen in 1.15). This function starts all `n` with torch's launcher, as accelerate does
    for GPUs. It does nothing after any other launch or in the processes that it starts.

    Raises:
        ValueError: If the command asks for several processes, but their number cannot be read.
    """
    launched_by_accelerate = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1")
    # accelerate sets a master address if the command asks for several processes. Every launcher sets a rank.
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
            "the launch command asks for several processes, but `accelerate launch --cpu` starts only one: use "
            "`accelerate launch --multi_gpu --num_processes N ... --use_cpu`, which starts N with gloo"
        )
    logger.warning("`accelerate launch --cpu` started only one process: starting %d with torch's launcher", count)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count)]
    command += ["--master_addr", os.environ["MASTER_ADDR"], "--master_port", os.environ["MASTER_PORT"]]
    command += [*_running_program(), *sys.argv[1:]]
    sys.stderr.flush()
    os.execv(sys.executable, command)


def _running_program() -> list[str]:
    """The running script as a launcher's words: its file, or `-m` and the module's name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [sys.argv[0]] if spec is None else ["-m", spec.name.removesuffix(".__main__")]


def requested_processes(command: Sequence[str]) -> int | None:
    """
    Reads `--num_processes` from a command line.

    Args:
        command (`Sequence[str]`): The words of an `accelerate launch` command.

    Returns:
        `int`, *optional*: The number, or `None` if it is missing or not a number.
    """
    for i, word in enumerate(command):
        name, _, value = word.partition("=")
        if name in ("--num_processes", "--num-processes"):
            value = value or (command[i + 1] if i + 1 < len(command) else "")
            return int(value) if value.isdigit() else None
    return None


def end_process_group() -> None:
    """
    Destroys torch's process group and joins its threads. Call it at the very end of a distributed script.

    A gloo thread releases the tensors of its last collective shortly after the collective ends. If the interpreter is
    already shutting down, the thread cannot take the GIL, and the process sometimes aborts ("terminate called without
    an active exception", torch 2.13 on Python 3.11). The threads live as long as the group and every DDP wrapper that
    uses it, so no reference to a trainer may be left. Does nothing with one process.
    """
    # Collect DDP wrappers first (a trainer is part of reference cycles). The last owner of a group joins its threads,
    # and a DDP wrapper would do so while it holds the GIL, for which a thread may be waiting.
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
