"""The price of αVIL: its epochs divided by those of a plain `transformers.Trainer` that trains on the same batches.

python benchmarks/epoch_cost.py --workload out/workload --rows 96

Three runs are measured in turn: the plain Trainer; the same with the forward and backward passes that the α step
needs, and nothing else; and αVIL. The first difference is the price of α's passes, the second is what this package
adds. A rehearsal of αVIL, which is not measured, records its batches and passes. Start-up is not measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
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
    """Seconds between the first step and the end of training, without the first step, which warms up."""

    seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step."""
        if state.global_step == 1:
            self.began = now()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after the last step."""
        self.seconds = now() - self.began


class Rehearsal(MultitaskTrainer):
    """Records the batches of the training steps, and those of the α steps with whether they need a gradient."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.training_batches: list[dict[str, Any]] = []
        self.alpha_passes: list[tuple[dict[str, Any], bool]] = []
        super().__init__(*args, **kwargs)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.training_batches.append(dict(inputs))
        return super().training_step(model, inputs, *args, **kwargs)

    def _prepare_inputs(self, inputs: Any) -> Any:
        prepared = super()._prepare_inputs(inputs)
        runner = getattr(self, "runner", None)
        if runner is not None and runner.plan_is_done:
            self.alpha_passes.append((dict(prepared), torch.is_grad_enabled()))
        return prepared


class PlainTrainer(Trainer):
    """Trains on given batches, in their order, and then does given passes."""

    def __init__(self, *args: Any, batches: list[Batch], passes: list[tuple[dict[str, Any], bool]], **kwargs: Any):
        super().__init__(*args, train_dataset=[{}] * len(batches), **kwargs)
        self.batches, self.passes = batches, passes

    def get_train_dataloader(self) -> DataLoader:
        pad = DataCollatorWithPadding(self.processing_class) if self.processing_class else default_data_collator

        def collate(batch: Batch) -> dict[str, Any]:
            task, rows = batch
            return {**_collate(pad, rows), "task": task}

        settings = {"collate_fn": collate, "pin_memory": self.args.dataloader_pin_memory}
        return self.accelerator.prepare(DataLoader(self.batches, batch_size=None, **settings))

    def do_passes(self) -> None:
        """Forward passes in evaluation mode, and the backward passes of those that need a gradient."""
        parameters = list(self.model.parameters())
        self.model.eval()
        for inputs, needs_gradient in self.passes:
            with torch.set_grad_enabled(needs_gradient):
                loss = self.model(**inputs).loss
            if needs_gradient:
                torch.autograd.grad(loss, parameters, allow_unused=True)
            loss.item()


class DoesPasses(TrainerCallback):
    """Does the trainer's passes when training ends."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after the last step."""
        self.do()


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


def alphavil_seconds(
    trainer_class: type[MultitaskTrainer],
    workload: Workload,
    rows: dict[str, Rows],
    variant: str,
    options: argparse.Namespace,
    keep: dict[str, Any] | None = None,
) -> float:
    """Trains an epoch of αVIL. `keep` receives the trainer."""
    time = TrainingTime()
    with tempfile.TemporaryDirectory() as folder:
        args = MultitaskTrainingArguments(
            target_task=next(iter(rows)), max_length=MAX_LENGTH, length_grouping="on", **VARIANTS[variant],
            **settings_of(options, folder),
        )  # fmt: skip
        trainer = trainer_class(
            model=workload.model(),
            args=args,
            train_dataset=rows,
            processing_class=workload.tokenizer,
            callbacks=[time],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if keep is not None:
        keep["trainer"] = trainer
    return time.seconds


def plain_seconds(
    workload: Workload,
    tokenizer: PreTrainedTokenizerBase | None,
    batches: list[Batch],
    passes: list[tuple[dict[str, Any], bool]],
    options: argparse.Namespace,
) -> float:
    """Trains a plain Trainer on batches, then does passes."""
    time = TrainingTime()
    with tempfile.TemporaryDirectory() as folder:
        trainer = PlainTrainer(
            model=workload.model(), args=TrainingArguments(**settings_of(options, folder)), batches=batches,
            passes=passes, processing_class=tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(DoesPasses(trainer.do_passes))
        trainer.add_callback(time)
        trainer.train()
    return time.seconds


def measure(workload: Workload, variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measures the price of one variant."""
    rows = workload.sample(options.rows)
    kept: dict[str, Any] = {}
    alphavil_seconds(Rehearsal, workload, rows, variant, options, kept)
    rehearsal = kept.pop("trainer")
    batches = [_rows_of(batch) for batch in rehearsal.training_batches]
    passes = rehearsal.alpha_passes
    tokenizer = workload.tokenizer
    measured = ratios(
        {
            "plain": partial(plain_seconds, workload, tokenizer, batches, [], options),
            "plain and α's passes": partial(plain_seconds, workload, tokenizer, batches, passes, options),
            "αVIL": partial(alphavil_seconds, MultitaskTrainer, workload, rows, variant, options),
        },
        "plain",
        options.rounds,
    )
    return {
        "steps": len(batches),
        "alpha_passes": len(passes),
        "alpha_rows": sum(len(inputs["labels"]) for inputs, _ in passes),
        "times_as_long": measured,
        "own_share": measured["αVIL"]["median"] - measured["plain and α's passes"]["median"],
    }


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", required=True, help="folder that workload.py wrote")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["alphavil"])
    parser.add_argument("--rows", type=int, default=96, help="training rows per task, at most")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    add_output(parser)
    options = parser.parse_args()
    workload = Workload.load(options.workload)
    result = {"rows_per_task": options.rows, "batch_size": options.batch_size, "bf16": options.bf16}
    result["variants"] = {name: measure(workload, name, options) for name in options.variants}
    write_result(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
