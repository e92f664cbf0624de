"""Executes the runs of a comparison and writes its report."""

from __future__ import annotations

import os
import shutil
import sys

from ..files.atomic_file import atomic_write
from .folder import Folder
from .jobs import Job, run_jobs
from .plots import plot_auxiliaries, plot_differences, plot_scores
from .report import format_report
from .results import read_result
from .run_options import Deadline, Share


def compare(folder: Folder, command: str, num_parallel: int, share: Share, deadline: Deadline) -> int:
    """
    Runs everything that is not finished, and writes the report.

    Args:
        folder (`Folder`): Folder of the comparison.
        command (`str`): The command that started it, for the report.
        num_parallel (`int`): Maximum number of runs at a time.
        share (`Share`): The runs to execute.
        deadline (`Deadline`): When it is over, no run starts.

    Returns:
        `int`: The exit status: 1 if a run failed.
    """
    pending = [run for run in share.of(list(folder.runs)) if run not in folder.finished]
    print(f"{len(folder.runs)} runs, {len(folder.finished)} of them already finished", flush=True)

    # Logs of runs that were running when an earlier start was killed.
    shutil.rmtree(folder.path / "running", ignore_errors=True)
    ended = len(folder.finished)

    def on_end(job: Job, status: int) -> None:
        nonlocal ended
        ended += 1
        if status == 0 and folder.result_file(job.name).exists():
            job.log.unlink()
            folder.failed_log(job.name).unlink(missing_ok=True)
            result = read_result(folder.result_file(job.name))
            outcome = f"{result['metric']} {result['score']:.4f}, {result['seconds']:.0f} s"
        else:
            folder.failed_log(job.name).parent.mkdir(exist_ok=True)
            job.log.replace(folder.failed_log(job.name))
            outcome = f"FAILED with status {status}: {folder.failed_log(job.name)}"
        folder.write_results()
        print(f"[{ended}/{len(folder.runs)}] {job.name}: {outcome}", flush=True)

    threads = max(1, (os.cpu_count() or 1) // num_parallel)
    environment = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"} | os.environ
    run_jobs([folder.job(run) for run in pending], num_parallel, on_end, environment, deadline)

    results = folder.write_results()
    report = format_report(results, command, folder.failed)
    atomic_write(folder.path / "table.md", report)
    print(f"\n{report}")
    if results.runs:
        plot_differences(results, folder.path / "plots" / "differences.png")
        plot_scores(results, folder.path / "plots" / "scores.png")
        plot_auxiliaries(results, folder.path / "plots" / "auxiliaries.png")
    for run in folder.failed:
        print(f"failed: {folder.failed_log(run)}", file=sys.stderr)
    if folder.failed:
        print("Run the same command again to retry the failed runs.", file=sys.stderr)
    return 1 if folder.failed else 0
