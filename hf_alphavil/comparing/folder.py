"""The output folder of a comparison: which of its runs are finished, and where their files are."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files.atomic_file import atomic_write
from ..files.json_file import write_json
from .comparison import Comparison
from .data import data_digest, encoder_digest, load_data, run_id, split_target
from .jobs import Job
from .results import Results, format_lines, read_result

#: The module that executes one run.
MODULE = "hf_alphavil.comparing.execute"


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
        self._greater_is_better = {target: bool(tasks[target].greater_is_better) for target in comparison.targets}
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
        command = (sys.executable, "-m", MODULE, str(spec), str(self.result_file(run)))
        return Job(run, (*command, "--parent", str(os.getpid())), self.path / "running" / f"{run}.log")

    def write_results(self) -> Results:
        """Collects the finished runs in `results.jsonl`."""
        results = Results(self.comparison, [self._read(run) for run in self.finished])
        atomic_write(self.path / "results.jsonl", format_lines(results.runs))
        return results

    def _read(self, run: str) -> dict[str, Any]:
        """The result of a finished run. Those of earlier versions lack the metric's direction."""
        result = read_result(self.result_file(run))
        return {"greater_is_better": self._greater_is_better[result["target"]]} | result
