"""
Runs several processes at a time, each with its own log. None outlives its parent.

By hand: `concurrent.futures` waits for running processes when it is interrupted, and cannot end them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .run_options import Deadline

#: Seconds between two checks of the running processes.
INTERVAL = 0.1
#: Seconds that a process gets to end after SIGTERM.
PATIENCE = 10


@dataclass(frozen=True)
class Job:
    """
    A process to run.

    Args:
        name (`str`): Name of the job.
        command (`tuple[str, ...]`): Program and arguments.
        log (`Path`): File for its output.
    """

    name: str
    command: tuple[str, ...]
    log: Path


def run_jobs(
    jobs: Sequence[Job],
    num_parallel: int,
    on_end: Callable[[Job, int], None],
    environment: Mapping[str, str],
    deadline: Deadline,
) -> None:
    """
    Runs processes in order, a limited number at a time. If this function ends early, it ends the running processes.

    Args:
        jobs (`Sequence[Job]`): The processes.
        num_parallel (`int`): Maximum number of processes at a time.
        on_end (`Callable[[Job, int], None]`): Called with each job and its exit status as soon as it has ended.
        environment (`Mapping[str, str]`): Environment variables of the processes.
        deadline (`Deadline`): When it is over, no process starts, and those that run are finished.
    """
    waiting, running = list(jobs), dict[Job, subprocess.Popen]()
    try:
        while running or (waiting and not deadline.is_over()):
            while waiting and len(running) < num_parallel and not deadline.is_over():
                job = waiting.pop(0)
                running[job] = _start(job, environment)
            for job, process in list(running.items()):
                if (status := process.poll()) is not None:
                    del running[job]
                    on_end(job, status)
            time.sleep(INTERVAL)
    finally:
        _stop(list(running.values()))


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        # In a new session, so that Ctrl-C at the terminal reaches only this process, which then ends its children.
        return subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True,
        )  # fmt: skip


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
