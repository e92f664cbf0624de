"""What must not happen in a training step: waiting for the device beyond what Trainer does, and compiling again.

python benchmarks/step_checks.py --workload out/workload

Host synchronisations are counted by PyTorch's sync debug mode on CUDA, and as reads of single numbers on a CPU.
Compiled runs (`torch_compile`) count graphs, graph breaks and the graphs of the second epoch, and are compared with
the same steps without compilation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import now
from epoch_cost import PlainTrainer, settings_of
from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from results_file import add_output, write_result
from workload import MAX_LENGTH, Rows, Workload

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::item")


class SyncCounter(TorchDispatchMode):
    """Counts synchronisations inside a `with` block."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.count = 0
        self.places: set[str] = set()

    def __enter__(self) -> Any:
        if self.device == "cpu":
            return super().__enter__()
        self.caught = warnings.catch_warnings(record=True)
        self.seen = self.caught.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        return self

    def __exit__(self, *error: Any) -> None:
        if self.device == "cpu":
            super().__exit__(*error)
            return
        torch.cuda.set_sync_debug_mode("default")
        syncs = [warning for warning in self.seen if "synchronizing" in str(warning.message)]
        self.count += len(syncs)
        self.places |= {f"{warning.filename.split('site-packages/')[-1]}:{warning.lineno}" for warning in syncs}
        self.caught.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name()
        if name in READS:
            self.count += 1
            self.places.add(name)
        return function(*args, **(kwargs or {}))


class CountsSyncs(TrainerCallback):
    """Counts synchronisations from the end of step `first` to the end of step `last`."""

    def __init__(self, first: int, last: int, device: str) -> None:
        self.first, self.last = first, last
        self.counter = SyncCounter(device)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step."""
        if state.global_step == self.first:
            self.counter.__enter__()
        elif state.global_step == self.last:
            self.counter.__exit__(None, None, None)

    @property
    def per_step(self) -> float:
        """`float`: Synchronisations per step."""
        return self.counter.count / (self.last - self.first)


def host_syncs(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Synchronisations per step inside a phase, of a plain Trainer and of αVIL."""
    target = next(iter(workload.rows))
    rows = {name: of_task[: options.batch_size * 9] for name, of_task in workload.rows.items()}
    counts = {}
    for name in ("plain", "alphavil"):
        callback = CountsSyncs(2, 8, options.device)
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(options, folder)
            trainer: Trainer
            if name == "plain":
                batch = (target, rows[target][: options.batch_size])
                trainer = PlainTrainer(
                    model=workload.model(), args=TrainingArguments(**settings), batches=[batch] * 9,
                    processing_class=workload.tokenizer,
                )  # fmt: skip
            else:
                trainer = make_trainer(workload, rows, settings)
            trainer.add_callback(callback)
            trainer.train()
        counts[name] = {"per_step": callback.per_step, "places": sorted(callback.counter.places)}
    return counts


def make_trainer(workload: Workload, rows: dict[str, Rows], settings: dict[str, Any]) -> MultitaskTrainer:
    """A trainer that runs αVIL."""
    trainer = MultitaskTrainer(
        model=workload.model(),
        args=MultitaskTrainingArguments(
            target_task=next(iter(rows)),
            alphavil_preset="paper",
            max_length=MAX_LENGTH,
            length_grouping="on",
            **settings,
        ),
        train_dataset=rows,
        processing_class=workload.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


class EpochTimes(TrainerCallback):
    """Seconds and compiled graphs of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.graphs: list[int] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs before an epoch."""
        self.began = now()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after an epoch, merge included."""
        self.seconds.append(now() - self.began)
        self.graphs.append(counters["stats"]["unique_graphs"])


def compilation(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Graphs by epoch, graph breaks, and the last epoch's seconds with and without compilation."""
    rows = workload.sample(options.rows)
    result: dict[str, Any] = {}
    for name, compiles in (("eager", False), ("compiled", True)):
        counters.clear()
        torch._dynamo.reset()
        times = EpochTimes()
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(options, folder) | {"num_train_epochs": 3, "torch_compile": compiles}
            trainer = make_trainer(workload, rows, settings)
            trainer.add_callback(times)
            trainer.train()
        result[name] = {
            "epoch_seconds": times.seconds,
            "graphs": times.graphs,
            "graph_breaks": sum(counters["graph_break"].values()),
        }
    result["times_as_long"] = result["compiled"]["epoch_seconds"][-1] / result["eager"]["epoch_seconds"][-1]
    return result


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", required=True, help="folder that workload.py wrote")
    parser.add_argument("--rows", type=int, default=96, help="training rows per task, at most")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--without_compilation", action="store_true")
    add_output(parser)
    options = parser.parse_args()
    workload = Workload.load(options.workload)
    result: dict[str, Any] = {"host_syncs": host_syncs(workload, options)}
    if not options.without_compilation:
        result["torch_compile"] = compilation(workload, options)
    write_result(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
