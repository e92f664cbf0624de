"""Real launches with several processes."""

import os
import subprocess
import sys

from support.forking import ROOT, free_port


def launch(script, *arguments, config="ddp", num_processes=2, timeout=600, options=(), variables=None):
    """
    Runs a script with `accelerate launch` on gloo processes of one thread each; fails with its output.

    Args:
        script: Path of the script; it is to use the CPU (`use_cpu=True`).
        arguments: Its arguments.
        config: Name of a launch file in `configs/`.
        num_processes: Number of processes.
        timeout: Seconds.
        options: More flags of `accelerate launch`.
        variables: More environment variables.
    """
    port = free_port()
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(ROOT / "configs" / f"{config}.yaml")]
    command += ["--num_processes", str(num_processes), "--main_process_port", str(port)]
    command += [*options, str(script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= variables or {}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-8000:]
    return finished.stdout + finished.stderr
