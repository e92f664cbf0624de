"""Measures the speed-up of task-parallel phases over one process, and compares it with data-parallel training.

python benchmarks/phase_parallel.py --data_dir ../shared/data --model_name_or_path ENCODER --output phase_parallel.json

Every process has one thread. All variants train the same plan with the same number of rows per step (data-parallel
training does if the processes divide it). The task-parallel run must end with the α of one process, which is checked.
Seconds are Trainer's `train_runtime`, without start-up. `side by side` runs copies of the one-process job at the same
time. It shows how much the machine gains from additional processes, which is about the most that any variant can
reach.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]


def start(arguments: argparse.Namespace, folder: Path, num_processes: int, batch: int, *options: str) -> Any:
    """Starts the driver and returns its process."""
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    if num_processes == 1:
        launch += ["--config_file", str(ROOT / "configs" / "single.yaml")]
    else:
        launch += ["--config_file", str(ROOT / "configs" / "ddp.yaml"), "--num_processes", str(num_processes)]
        launch += ["--main_process_port", "0"]
    command = [*launch, str(ROOT / "run_glue_avil.py"), "--target", arguments.target, "--do_train", "true"]
    command += ["--model_name_or_path", arguments.model_name_or_path, "--output_dir", str(folder)]
    command += ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    command += ["--per_device_train_batch_size", str(batch), "--delta_fraction", str(arguments.delta_fraction)]
    command += ["--num_train_epochs", str(arguments.num_train_epochs), "--max_seq_length", "128"]
    command += ["--use_cpu", "true", "--save_strategy", "no", "--disable_tqdm", "true", "--report_to", "none"]
    command += options
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: Any, folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """Waits for a driver and returns its seconds of training and its history."""
    errors = process.communicate()[1]
    if process.returncode != 0:
        raise RuntimeError(errors[-4000:])
    seconds = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))["train_runtime"]
    return seconds, json.loads((folder / "alphavil_history.json").read_text(encoding="utf-8"))


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """
    Runs every variant once.

    Args:
        arguments (`argparse.Namespace`): The command line.
        folder (`Path`): Folder for the runs.

    Returns:
        `dict[str, float]`: Seconds of training by variant.
    """
    number, batch = arguments.num_processes, arguments.batch_size
    ways: dict[str, list[tuple[int, int, tuple[str, ...]]]] = {
        "one process": [(1, batch, ())],
        "task-parallel": [(number, batch, ("--phase_parallel", "on"))],
        "data-parallel": [(number, batch // number, ())],
        "side by side": [(1, batch, ())] * number,
    }
    seconds, histories = {}, {}
    for way, jobs in ways.items():
        folders = [folder / f"{way} {i}" for i in range(len(jobs))]
        processes = [start(arguments, place, n, b, *more) for place, (n, b, more) in zip(folders, jobs, strict=True)]
        ended = [finish(process, place) for process, place in zip(processes, folders, strict=True)]
        seconds[way], histories[way] = max(time for time, _ in ended), ended[0][1]
        print(f"{way}: {seconds[way]:.1f} s", file=sys.stderr, flush=True)
    if histories["task-parallel"] != histories["one process"]:
        raise RuntimeError("task-parallel phases ended with another α than one process")
    return seconds


def summarise(repeats: list[dict[str, float]], num_processes: int) -> dict[str, float]:
    """
    The median, over all repetitions, of the speed-up within each.

    Args:
        repeats (`list[dict[str, float]]`): Seconds by variant, from [`measure`].
        num_processes (`int`): Number of processes of the parallel variants.

    Returns:
        `dict[str, float]`: Speed-up over one process, by variant. For `side by side`, that of all copies together.
    """
    ratios = {
        way: [times["one process"] / times[way] * (num_processes if way == "side by side" else 1) for times in repeats]
        for way in repeats[0]
        if way != "one process"
    }
    return {way: median(values) for way, values in ratios.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", default="rte")
    parser.add_argument("--data_dir", help="official GLUE and SuperGLUE files; without it, the Hub")
    parser.add_argument("--model_name_or_path", default="roberta-base")
    parser.add_argument("--num_processes", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=16, help="rows per step")
    parser.add_argument("--delta_fraction", type=float, default=0.1, help="share of every task's rows per epoch")
    parser.add_argument("--num_train_epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    repeats = []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            repeats.append(measure(arguments, Path(folder)))
    speedup = summarise(repeats, arguments.num_processes)
    print(f"| run, {arguments.num_processes} processes of one thread | speed-up over one process |\n|---|---|")
    for way, value in speedup.items():
        print(f"| {way} | {value:.2f} |")
    if arguments.output:
        versions = {"python": platform.python_version(), "torch": torch.__version__} | {
            "transformers": transformers.__version__
        }
        found = {"command": sys.argv, "versions": versions, "seconds": repeats, "speed-up": speedup}
        Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
