"""Real launches with several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from hf_alphavil.distributed.launch import end_process_group
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


def launch_runs(script, runs, folder, num_processes=2, config="ddp"):
    """
    Launches a script that ends in `run_listed`.

    Args:
        script: Name of the script in `tests/support`. runs: Arguments of its runs, JSON-serialisable. folder: Folder
        for the files of arguments and results. num_processes: Number of processes. config: Name of a launch file in
        `configs/`.

    Returns:
        What the runs returned on rank 0.
    """
    (folder / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    script = ROOT / "tests" / "support" / script
    launch(script, folder / "runs.json", folder / "result.pt", num_processes=num_processes, config=config)
    return torch.load(folder / "result.pt", weights_only=False)


def run_listed(run):
    """Main of a launched script: calls `run` with every entry of argv[1], rank 0 saves the list of results."""
    results = [run(**arguments) for arguments in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]
    if os.environ.get("RANK", "0") == "0":
        torch.save(results, sys.argv[2])
    end_process_group()
