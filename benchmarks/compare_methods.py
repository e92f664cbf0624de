"""Compares methods × targets × seeds. Each run is a separate process.

python benchmarks/compare_methods.py offline_small --output out/compare_offline --jobs 2

benchmarks/README.md describes the configuration and the output folder. The comparison can be stopped at any time. When
restarted, it keeps all finished runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from compare_config import PRESETS, Comparison, read_comparison
from compare_data import data_digest, encoder_digest, load_data, run_id, split_target
from compare_files import write_json
from compare_jobs import Job, run_jobs
from compare_plots import plot_differences, plot_scores
from compare_report import format_report
from compare_results import Results, format_lines, read_result
from hf_alphavil.files.atomic_file import atomic_write
from run_options import Deadline, Share, add_run_options

RUN_SCRIPT = Path(__file__).parent / "compare_run.py"
STOPPED = 128


class Folder:
    """
    The output folder of a comparison.

    Args:
        path (`Path`): The folder.
        comparison (`Comparison`): The comparison.

    Raises:
        DataError, ValueError: If the data cannot be used. No run has started then.
    """

    def __init__(self, path: Path, comparison: Comparison) -> None:
        self.path = path
        self.comparison = comparison
        tasks = load_data(comparison.data)
        for target in comparison.targets:
            split_target(tasks[target], comparison.data)
        digests = data_digest(tasks), encoder_digest(comparison.data.model_name_or_path)
        self.runs = {run_id(run, *digests): run for run in comparison.runs()}

    def result_file(self, run: str) -> Path:
        """The file with the result of a finished run."""
        return self.path / "runs" / f"{run}.json"

    def failed_log(self, run: str) -> Path:
        """The file with the output of a failed run."""
        return self.path / "failed" / f"{run}.log"

    @property
    def finished(self) -> list[str]:
        """`list[str]`: Ids of finished runs."""
        return [run for run in self.runs if self.result_file(run).exists()]

    @property
    def failed(self) -> list[str]:
        """`list[str]`: Ids of runs whose last attempt failed."""
        return [run for run in self.runs if run not in self.finished and self.failed_log(run).exists()]

    def job(self, run: str) -> Job:
        """
        Writes the settings of a run and returns its job.

        Args:
            run (`str`): Id of the run.
        """
        spec = self.path / "specs" / f"{run}.json"
        write_json(spec, asdict(self.runs[run]))
        command = (sys.executable, str(RUN_SCRIPT), str(spec), str(self.result_file(run)))
        return Job(run, (*command, "--parent", str(os.getpid())), self.path / "running" / f"{run}.log")

    def write_results(self) -> Results:
        """Collects the finished runs in `results.jsonl`."""
        results = Results(self.comparison, [read_result(self.result_file(run)) for run in self.finished])
        atomic_write(self.path / "results.jsonl", format_lines(results.runs))
        return results


def compare(folder: Folder, num_parallel: int, share: Share, deadline: Deadline) -> int:
    """
    Runs everything that is not finished, and writes the report.

    Args:
        folder (`Folder`): Folder of the comparison.
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
    command = shlex.join(["python", *sys.argv])
    report = format_report(results, command, folder.failed)
    atomic_write(folder.path / "table.md", report)
    print(f"\n{report}")
    if results.runs:
        plot_differences(results, folder.path / "plots" / "differences.png")
        plot_scores(results, folder.path / "plots" / "scores.png")
    for run in folder.failed:
        print(f"failed: {folder.failed_log(run)}", file=sys.stderr)
    if folder.failed:
        print("Run the same command again to retry the failed runs.", file=sys.stderr)
    return 1 if folder.failed else 0


def _stop(number: int, frame: object) -> None:
    raise SystemExit(STOPPED + number)


def main() -> int:
    """Entry point; returns the exit status."""
    presets = ", ".join(path.stem for path in sorted(PRESETS.glob("*.yaml")))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help=f"YAML file, or a preset: {presets}")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the report")
    add_run_options(parser)
    parser.add_argument("--data_dir", help="folder of the official files; overrides the configuration")
    parser.add_argument("--model_name_or_path", help="encoder by id or folder; overrides the configuration")
    options = parser.parse_args()
    deadline = Deadline(options.minutes)
    try:
        comparison = read_comparison(options.config, options.data_dir, options.model_name_or_path)
        folder = Folder(options.output, comparison)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return compare(folder, options.jobs, options.shard, deadline)


if __name__ == "__main__":
    sys.exit(main())
