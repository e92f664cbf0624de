"""The price of αVIL: its epochs divided by those of a plain `transformers.Trainer` that trains on the same batches.

python benchmarks/epoch_cost.py --workload out/workload --rows 96 --variants alphavil secant

The plain Trainer and αVIL under each of the variants are measured in turn. Inside αVIL's run, the seconds of the α
step's forward and backward passes are measured, and those of this package's other work: at the boundaries of phases
(θ0, deltas, optimizer states, seeds, checks) and in the α step (merges, inner products). Start-up and the first
step are not measured.

With `--max_phase_steps`, each task trains for so many steps only, and the result is scaled to all steps of the epoch:
a plain epoch takes each task's mean step as often as the task has steps, αVIL's as long, plus the passes and this
package's other work, which do not grow with the number of steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.data.sampling import steps_per_task
from hf_alphavil.objectives.loss import TaskObjective
from hf_alphavil.run.callbacks import PlanCallback
from results_file import add_output, write_result
from workload import MAX_LENGTH, Rows, Workload

#: Settings of αVIL whose price may be measured.
VARIANTS: dict[str, dict[str, Any]] = {
    "alphavil": {},
    "reset": {"phase_optimizer_state": "reset"},
    "secant": {"alpha_optimizer": "secant"},
}
#: Task name and rows of a batch.
Batch = tuple[str, Rows]


class TrainingTime(TrainerCallback):
    """Seconds of every step but the first, which warms up, and of all that follows until training ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @property
    def seconds(self) -> float:
        """The sum."""
        return self.times[-1] - self.times[0]

    @property
    def of_steps(self) -> list[float]:
        """Seconds of the second step, the third, and so on."""
        return [end - begin for begin, end in zip(self.times[:-2], self.times[1:-1], strict=True)]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step."""
        self.times.append(now())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after the last step."""
        self.times.append(now())


class InsideTime:
    """Seconds of αVIL's run in the passes of the α step and in this package's other work, from the second step on."""

    def __init__(self) -> None:
        self.passes = 0.0
        self.events = 0.0
        self.num_passes = 0
        self._is_in_event = False

    @property
    def own(self) -> float:
        """Seconds of what this package does besides passes."""
        return self.events - self.passes

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures in a `with` block."""
        events = ("on_step_begin", "on_pre_optimizer_step", "on_optimizer_step", "on_step_end")
        parts = [(PlanCallback, name, self._event) for name in events]
        parts += [(TaskObjective, "_inputs", self._pass), (TaskObjective, "_forward", self._pass)]
        parts += [(torch.autograd, "grad", self._pass)]
        with ExitStack() as stack:
            for owner, name, by in parts:
                stack.enter_context(mock.patch.object(owner, name, by(name, getattr(owner, name))))
            yield

    def _event(self, name: str, event: Callable) -> Callable:
        def timed(callback: PlanCallback, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # The first step's number is 0 until its last event.
            if state.global_step == 0 or (state.global_step == 1 and name == "on_step_end"):
                return event(callback, args, state, control, **kwargs)
            self._is_in_event, began = True, now()
            try:
                event(callback, args, state, control, **kwargs)
            finally:
                self.events += now() - began
                self._is_in_event = False

        return timed

    def _pass(self, name: str, part: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._is_in_event:
                return part(*args, **kwargs)
            began = now()
            result = part(*args, **kwargs)
            self.passes += now() - began
            self.num_passes += name == "_forward"
            return result

        return timed


class RecordingTrainer(MultitaskTrainer):
    """Keeps the batches of the training steps."""

    batches: list[dict[str, Any]]

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.batches.append(dict(inputs))
        return super().training_step(model, inputs, *args, **kwargs)


class PlainTrainer(Trainer):
    """Trains on given batches, in their order."""

    def __init__(self, *args: Any, batches: Sequence[Batch], **kwargs: Any):
        super().__init__(*args, train_dataset=[{}] * len(batches), **kwargs)
        self.batches = list(batches)

    def get_train_dataloader(self) -> DataLoader:
        pad = DataCollatorWithPadding(self.processing_class) if self.processing_class else default_data_collator

        def collate(batch: Batch) -> dict[str, Any]:
            task, rows = batch
            return {**_collate(pad, rows), "task": task}

        settings = {"collate_fn": collate, "pin_memory": self.args.dataloader_pin_memory}
        return self.accelerator.prepare(DataLoader(self.batches, batch_size=None, **settings))


def _collate(pad: Callable[[list[dict[str, Any]]], Any], rows: Rows) -> dict[str, Any]:
    if not isinstance(rows[0]["input_ids"][0], list):  # a multiple-choice row has a list of tokens for each choice
        return dict(pad(rows))
    labels = torch.tensor([row["labels"] for row in rows])
    inputs = [{k: v[i] for k, v in row.items() if k != "labels"} for row in rows for i in range(len(row["input_ids"]))]
    return {k: v.unflatten(0, (len(rows), -1)) for k, v in pad(inputs).items()} | {"labels": labels}


def _rows_of(batch: dict[str, Any]) -> Batch:
    """A batch as rows without padding."""
    columns = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask") if name in batch}
    mask = batch["attention_mask"].bool()

    def unpadded(values: torch.Tensor, kept: torch.Tensor) -> list[Any]:
        if values.ndim == 1:
            return values[kept].tolist()
        return [unpadded(value, of_value) for value, of_value in zip(values, kept, strict=True)]

    rows = [{"labels": label} for label in batch["labels"].tolist()]
    for name, values in columns.items():
        for row, value, kept in zip(rows, values.cpu(), mask.cpu(), strict=True):
            row[name] = unpadded(value, kept)
    return batch["task"], rows


def settings_of(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Training arguments that all runs share."""
    return {
        "output_dir": folder, "per_device_train_batch_size": options.batch_size, "save_strategy": "no",
        "report_to": [], "disable_tqdm": True, "logging_strategy": "no", "use_cpu": options.device == "cpu",
        "dataloader_pin_memory": options.device != "cpu", "bf16": options.bf16, "num_train_epochs": 1,
        "learning_rate": 1e-4, "remove_unused_columns": False,
    }  # fmt: skip


class Epoch:
    """
    An epoch of αVIL under every variant, and of a plain Trainer on the same batches.

    Args:
        workload (`Workload`): Encoder and rows.
        options (`argparse.Namespace`): The options of this script.
    """

    def __init__(self, workload: Workload, options: argparse.Namespace) -> None:
        self.workload = workload
        self.options = options
        self.rows = workload.sample(options.rows)
        self.batches: list[Batch] = []
        self.all_steps: dict[str, int] = {}
        self.step_seconds: dict[str, list[float]] = {}
        self.inside: dict[str, list[InsideTime]] = {}

    def alphavil_seconds(self, variant: str) -> float:
        """Trains an epoch of αVIL."""
        time, inside = TrainingTime(), InsideTime()
        with tempfile.TemporaryDirectory() as folder:
            args = MultitaskTrainingArguments(
                target_task=next(iter(self.rows)), max_length=MAX_LENGTH, length_grouping="on",
                max_phase_steps=self.options.max_phase_steps, alphavil_preset="paper", **VARIANTS[variant],
                **settings_of(self.options, folder),
            )  # fmt: skip
            trainer = RecordingTrainer(
                model=self.workload.model(),
                args=args,
                train_dataset=self.rows,
                processing_class=self.workload.tokenizer,
                callbacks=[time],
            )
            trainer.batches = []
            trainer.remove_callback(PrinterCallback)
            with inside.measured():
                trainer.train()
        self.batches = self.batches or [_rows_of(batch) for batch in trainer.batches]
        num_rows = {task: len(dataset) for task, dataset in trainer.train_datasets.items()}
        self.all_steps = steps_per_task(num_rows, self.options.batch_size)
        self.inside.setdefault(variant, []).append(inside)
        return time.seconds

    def plain_seconds(self) -> float:
        """Trains a plain Trainer on αVIL's batches, so αVIL must have trained before."""
        time = TrainingTime()
        with tempfile.TemporaryDirectory() as folder:
            trainer = PlainTrainer(
                model=self.workload.model(), args=TrainingArguments(**settings_of(self.options, folder)),
                batches=self.batches, processing_class=self.workload.tokenizer,
            )  # fmt: skip
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(time)
            trainer.train()
        for (task, _), seconds in zip(self.batches[1:], time.of_steps, strict=True):
            self.step_seconds.setdefault(task, []).append(seconds)
        return time.seconds

    def whole_plain_epoch(self) -> float:
        """Seconds of a plain epoch with all steps of every task."""
        return sum(count * statistics.mean(self.step_seconds[task]) for task, count in self.all_steps.items())

    def result_of(self, variant: str, times_as_long: dict[str, float], plain: float) -> dict[str, Any]:
        """A variant's result, in units of `plain` seconds."""
        passes, own = (
            statistics.median(getattr(inside, part) for inside in self.inside[variant]) for part in ("passes", "own")
        )
        return {
            "times_as_long": times_as_long,
            "passes": self.inside[variant][0].num_passes,
            "passes_share": passes / plain,
            "own_share": own / plain,
            "passes_seconds": passes,
            "own_seconds": own,
        }


def measure(workload: Workload, variants: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Measures the price of variants."""
    epoch = Epoch(workload, options)
    alternatives = {name: partial(epoch.alphavil_seconds, name) for name in variants}
    measured = ratios({**alternatives, "plain": epoch.plain_seconds}, "plain", options.rounds)
    plain = measured["plain"]["cost"]
    of_variants = {name: epoch.result_of(name, measured[name], plain) for name in variants}
    result = {"steps": len(epoch.batches), "all_steps": sum(epoch.all_steps.values()), "plain_seconds": plain}
    if result["all_steps"] > result["steps"]:
        result["plain_seconds_of_all_steps"] = whole = epoch.whole_plain_epoch()
        for found in of_variants.values():
            shares = {part: found[f"{part}_seconds"] / whole for part in ("passes", "own")}
            found["scaled_to_all_steps"] = {
                "times_as_long": 1 + sum(shares.values()),
                "passes_share": shares["passes"],
                "own_share": shares["own"],
            }
    return {**result, "variants": of_variants}


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", required=True, help="folder that workload.py wrote")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["alphavil"])
    parser.add_argument("--rows", type=int, default=96, help="training rows per task, at most")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max_phase_steps", type=int, help="steps of each task that are measured (default: all)")
    parser.add_argument("--bf16", action="store_true")
    add_output(parser)
    options = parser.parse_args()
    settings = {"rows_per_task": options.rows, "batch_size": options.batch_size, "bf16": options.bf16}
    write_result(options, {**settings, **measure(Workload.load(options.workload), options.variants, options)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
