"""Runs in new processes that have everything imported.

A launch takes ten seconds, nearly all of them imports. Here a server process imports what runs need, once per pytest
worker, and every rank of a run is a fork of it, with the environment that `accelerate launch` and torchrun would set.
Every run still has new processes, with no state of earlier runs. Tests of the launch itself use `support.launching`.
"""

import gc
import multiprocessing
import os
import socket
import tempfile
import time
import traceback
from contextlib import chdir
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from hf_alphavil.distributed.launch import end_process_group

ROOT = Path(__file__).parents[2]
SERVER = multiprocessing.get_context("forkserver")
PRELOAD = ["run_glue_avil", "support.forking", "support.bert_run", "support.kinds_run", "support.sharded_run"]
PRELOAD += ["torch.distributed.algorithms.ddp_comm_hooks", "torch.distributed.checkpoint"]
PRELOAD += ["matplotlib.backends.backend_agg", "matplotlib.figure"]
SERVER.set_forkserver_preload(PRELOAD)


@dataclass
class Finished:
    """
    A run that has ended.

    Attributes:
        returncode (`int`): 0, or the exit code of the first rank that failed; -9 after a kill or the timeout.
        stdout (`str`): The output of all ranks, in order of rank.
        stderr (`str`): The same for their errors.
        result (`Any`): What the function returned on rank 0; `None` if the run failed.
    """

    returncode: int
    stdout: str
    stderr: str
    result: object = None


def fork(function, *args, config=None, num_processes=1, variables=None, cwd=ROOT, timeout=600, **kwargs):
    """
    Calls a function in new processes.

    Args:
        function (`Callable`): A function of a module; every rank calls it.
        args, kwargs: Its arguments, which pickle can copy.
        config (`str`, *optional*): Name of a launch file in `configs/`. By default, one process without a launcher.
        num_processes (`int`, *optional*, defaults to 1): Number of ranks under `config`.
        variables (`dict[str, str]`, *optional*): More environment variables.
        cwd (`Path`, *optional*, defaults to the repository's root): The working directory.
        timeout (`float`, *optional*, defaults to 600): Seconds after which all ranks are killed. They are also killed
            as soon as one rank fails.

    Returns:
        `Finished`: What is left of the run.
    """
    environments = [os.environ] if config is None else launch_environments(config, num_processes)
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for rank, environment in enumerate(environments):
            call = (function, args, kwargs, {**environment, **(variables or {})}, str(cwd), f"{folder}/{rank}")
            processes.append(SERVER.Process(target=run_rank, args=call))
            processes[-1].start()
        returncode = wait(processes, timeout)

        def output(name):
            files = sorted(Path(folder).glob(f"*.{name}"))
            return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)

        result = torch.load(f"{folder}/0.pt", weights_only=False) if returncode == 0 else None
        return Finished(returncode, output("out"), output("err"), result)


def fork_runs(run, runs, config=None, num_processes=1):
    """
    Calls `run(**arguments)` for each entry of `runs`, one after the other in the same new processes.

    Args:
        run (`Callable`): A function of a module.
        runs (`list[dict[str, Any]]`): The arguments of each call.
        config (`str`, *optional*): As for [`fork`].
        num_processes (`int`, *optional*, defaults to 1): As for [`fork`].

    Returns:
        `list`: What the calls returned on rank 0.
    """
    finished = fork(call_each, run, runs, config=config, num_processes=num_processes)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-8000:]
    return finished.result


def call_each(run, runs):
    return [run(**arguments) for arguments in runs]


def launch_environments(config, num_processes):
    """The environment of each rank under `accelerate launch --config_file configs/CONFIG.yaml`."""
    port = str(free_port())
    command = ["--config_file", str(ROOT / "configs" / f"{config}.yaml"), "--num_processes", str(num_processes)]
    args = launch_command_parser().parse_args([*command, "--main_process_port", port, "script.py"])
    common = prepare_multi_gpu_env(_validate_launch_command(args)[0])
    # Torchrun's part.
    common |= {"WORLD_SIZE": str(num_processes), "LOCAL_WORLD_SIZE": str(num_processes)}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_rank(function, args, kwargs, environment, cwd, place):
    """Body of a forked process: its output goes to PLACE.out and PLACE.err, what the function returns to PLACE.pt."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(f"{place}.{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    # As in a process that a launcher starts; the collator of masked language modelling asks for the name.
    multiprocessing.current_process().name = "MainProcess"
    # A data loader's workers would otherwise come from a new fork server, which imports everything again.
    multiprocessing.set_start_method(None, force=True)
    # Excludes imported objects from garbage collection, which would take most of a short run.
    gc.freeze()
    torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment)
    try:
        with chdir(cwd):
            torch.save(function(*args, **kwargs), f"{place}.pt")
        end_process_group()
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def wait(processes, timeout):
    """Waits for all processes and kills them after the timeout or a failure; returns the first failed exit code."""
    deadline = time.monotonic() + timeout
    running, returncode = list(processes), 0
    while running and not returncode:
        ended = connection.wait([process.sentinel for process in running], max(0.0, deadline - time.monotonic()))
        for process in [process for process in running if process.sentinel in ended]:
            process.join()
            running.remove(process)
            returncode = returncode or process.exitcode
        if not ended:
            returncode = -9
    for process in running:
        process.kill()
        process.join()
    return returncode
