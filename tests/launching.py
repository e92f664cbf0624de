"""Real launches with several processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def launch(script, *arguments, num_processes=2, timeout=600, options=(), variables=None):
    """
    Runs a script with `accelerate launch` on gloo processes of one thread each; fails with its output.

    Args:
        script: Path of the script.
        arguments: Its arguments.
        num_processes: Number of processes.
        timeout: Seconds.
        options: More flags of `accelerate launch`.
        variables: More environment variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `--cpu --num_processes 2` starts one process (huggingface/accelerate#2741); --multi_gpu on a machine without GPUs
    # is torchrun with gloo.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    command += ["--num_processes", str(num_processes), "--main_process_port", str(port), "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", *options, str(script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= variables or {}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-8000:]
    return finished.stdout + finished.stderr
