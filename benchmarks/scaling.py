"""Models the seconds of an αVIL epoch on n processes, by rows and by tasks, from measured step times.

python benchmarks/scaling.py --data_dir ../shared/data --model_name_or_path ENCODER --output scaling.json
python benchmarks/scaling.py --measured scaling.json --times_as_fast 1000

The first command measures (in one process, on a GPU if there is one) and prints the table. The second prints the table
for a faster processor. "By rows" is data-parallel, "by tasks" is task-parallel training. docs/scaling.md explains what
the model ignores.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainerCallback

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, load_tasks
from hf_alphavil.data import assign_lanes

TASKS = ("rte", "mrpc", "wnli", "cb", "copa")
#: Bytes per second that one process can send, according to the manufacturers.
BANDWIDTHS = {"25 Gb/s Ethernet": 3.1e9, "400 Gb/s InfiniBand": 50e9, "NVLink 4": 450e9}


@dataclass
class Measured:
    """
    The measurements that the model starts from.

    Args:
        rows (`dict[str, int]`): Training rows per task.
        seconds_per_row (`dict[str, float]`): Seconds of a training step per row, by task.
        alpha_seconds (`float`): Seconds of an epoch's α steps and merge on one process.
        alpha_batches (`int`): Micro-batches per α step. Processes share them.
        parameter_bytes (`int`): Bytes of the trainable parameters, |θ|.
    """

    rows: dict[str, int]
    seconds_per_row: dict[str, float]
    alpha_seconds: float
    alpha_batches: int
    parameter_bytes: int


class StepTimes(TrainerCallback):
    """Measures the seconds of every step, by task, and of every merge."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = defaultdict(list)
        self.merges: list[float] = []
        self.trainer: Any = None

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Runs before the step, after its batch was collated."""
        runner = self.trainer.runner
        self._task, self._began = runner.plan.locate(runner.state.step)[0].name, self._now()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Runs after the update and before the merge."""
        self._ended = self._now()
        self.steps[self._task].append(self._ended - self._began)

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Runs after the merge, if there is one."""
        if self.trainer.runner.state.step == 0:
            self.merges.append(self._now() - self._ended)

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(arguments: argparse.Namespace) -> Measured:
    """Times a short run of the real job on one process."""
    tasks = load_tasks(list(TASKS), data_dir=arguments.data_dir)
    args = MultitaskTrainingArguments(
        output_dir=tempfile.mkdtemp(),
        target_task=TASKS[0],
        alphavil_preset="paper",
        delta_fraction=arguments.delta_fraction,
        per_device_train_batch_size=arguments.batch_size,
        num_train_epochs=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    times = StepTimes()
    trainer = MultitaskTrainer(
        model=MultitaskModel.from_encoder(arguments.model_name_or_path, tasks=tasks),
        args=args,
        tasks=tasks,
        processing_class=AutoTokenizer.from_pretrained(arguments.model_name_or_path),
        callbacks=[times],
    )
    times.trainer = trainer
    trainer.train()
    return Measured(
        rows={name: trainer.task_setup.num_rows(name) for name in TASKS},
        # The first step of a task warms up caches.
        seconds_per_row={
            name: sum(seconds[1:] or seconds) / len(seconds[1:] or seconds) / arguments.batch_size
            for name, seconds in times.steps.items()
        },
        alpha_seconds=times.merges[0],
        alpha_batches=math.ceil(min(args.alpha_batch_size, len(trainer.meta_set)) / arguments.batch_size),
        parameter_bytes=sum(p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad),
    )


def epoch_seconds(
    measured: Measured, num_processes: int, group_size: int, rows_per_step: int, bandwidth: float, times_as_fast: float
) -> float:
    """
    Seconds of an epoch whose steps have the same number of rows for any number of processes.

    The processes of a group share the rows of a step. They exchange gradients by a ring all-reduce, 2(g − 1)/g·|θ|
    bytes per process for groups of g. One group means data-parallel training. Several groups run lanes of tasks in
    parallel and then exchange T deltas, T·|θ| bytes.

    Args:
        measured (`Measured`): Step times.
        num_processes (`int`): Number of processes, n.
        group_size (`int`): Processes per group, g. It must divide n.
        rows_per_step (`int`): Rows per optimizer step of a task.
        bandwidth (`float`): Bytes per second.
        times_as_fast (`float`): Divisor of the measured seconds.
    """
    all_reduce = 2 * (group_size - 1) / group_size * measured.parameter_bytes / bandwidth
    seconds = {
        name: math.ceil(rows / rows_per_step)
        * (measured.seconds_per_row[name] * rows_per_step / group_size / times_as_fast + all_reduce)
        for name, rows in measured.rows.items()
    }
    num_groups = num_processes // group_size
    loads: dict[int, float] = defaultdict(float)
    for name, lane in assign_lanes(seconds, num_groups).items():
        loads[lane] += seconds[name]
    exchange = len(seconds) * measured.parameter_bytes / bandwidth if num_groups > 1 else 0.0
    shared = math.ceil(measured.alpha_batches / num_processes) / measured.alpha_batches
    return max(loads.values()) + exchange + measured.alpha_seconds / times_as_fast * shared


def table(measured: Measured, rows_per_step: int, times_as_fast: float) -> str:
    """A Markdown table of speed-ups over one process, by rows and by tasks with the best number of groups."""
    lines = ["| processes | network | by rows | by tasks | groups |", "|---|---|---|---|---|"]
    one = epoch_seconds(measured, 1, 1, rows_per_step, math.inf, times_as_fast)
    for number in (2, 8, 16, 32, 64):
        for network, bandwidth in BANDWIDTHS.items():
            seconds = {
                groups: epoch_seconds(measured, number, number // groups, rows_per_step, bandwidth, times_as_fast)
                for groups in range(1, len(measured.rows) + 1)
                if number % groups == 0
            }
            by_rows = one / seconds.pop(1)
            best = min(seconds, key=lambda groups: seconds[groups])
            shape = f"{best} of {number // best}"
            lines.append(f"| {number} | {network} | {by_rows:.1f} | {one / seconds[best]:.1f} | {shape} |")
    return "\n".join(lines)


def describe(measured: Measured) -> str:
    """A Markdown table of the measured step times."""
    lines = ["| task | rows | ms per row |", "|---|---|---|"]
    for name, rows in measured.rows.items():
        lines.append(f"| {name} | {rows} | {1e3 * measured.seconds_per_row[name]:.1f} |")
    lines.append(
        f"\nα steps and merge: {measured.alpha_seconds:.1f} s per epoch; |θ|: {measured.parameter_bytes / 1e6:.0f} MB"
    )
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", help="official GLUE and SuperGLUE files; without it, the Hub")
    parser.add_argument("--model_name_or_path", default="roberta-base")
    parser.add_argument("--batch_size", type=int, default=16, help="rows per step in the measurement")
    parser.add_argument("--delta_fraction", type=float, default=0.03, help="share of the rows in the measurement")
    parser.add_argument("--rows_per_step", type=int, default=64, help="rows per optimizer step in the model")
    parser.add_argument("--times_as_fast", type=float, default=1.0, help="speed relative to the measured processor")
    parser.add_argument("--measured", help="JSON file of an earlier measurement")
    parser.add_argument("--output", help="JSON file to write the measurement to")
    arguments = parser.parse_args()
    if arguments.measured:
        measured = Measured(**json.loads(Path(arguments.measured).read_text(encoding="utf-8"))["measured"])
    else:
        measured = measure(arguments)
    print(describe(measured) + "\n\n" + table(measured, arguments.rows_per_step, arguments.times_as_fast))
    if arguments.output:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        found = {"command": sys.argv, "versions": versions, "threads": torch.get_num_threads()}
        found["measured"] = asdict(measured)
        Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
