"""Training rows per CPU second: rows of similar length in a batch, random batches, and all rows padded to 128 tokens.

python benchmarks/throughput.py --workload out/workload

All train the same model on the same number of rows of the paper's five tasks, in turn; benchmarks/workload.py writes
the workload. The first steps of a run are not measured. `bfloat16` is `similar lengths` under bf16 autocast.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from typing import Any

from transformers import TrainerCallback

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from results_file import add_output, write_result
from workload import MAX_LENGTH, Rows, Workload

#: Steps before the measurement starts.
WARM_UP = 2
#: By alternative: the setting `length_grouping`, whether rows are padded to 128 tokens, and whether bf16 is on.
DATA_PATHS = {
    "similar lengths": ("on", False, False),
    "random batches": ("off", False, False),
    "padded to 128": ("off", True, False),
    "bfloat16": ("on", False, True),
}


class Clock(TrainerCallback):
    """Seconds of the steps after the warm-up."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step."""
        if state.global_step == WARM_UP:
            self.began = now()
        if state.global_step == state.max_steps:
            self.seconds = now() - self.began


class CountingTrainer(MultitaskTrainer):
    """Counts tokens with and without padding, before they go to the device."""

    padded = real = 0

    def _prepare_inputs(self, inputs: Any) -> Any:
        self.padded += inputs["attention_mask"].numel()
        self.real += int(inputs["attention_mask"].sum())
        return super()._prepare_inputs(inputs)


def padded(rows: Rows, pad: int) -> Rows:
    """Token ids, masks and types of every row (or choice) with padding up to 128."""
    fill = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0}

    def to_full(value: Any, filler: int) -> Any:
        if isinstance(value[0], list):
            return [to_full(choice, filler) for choice in value]
        return value + [filler] * (MAX_LENGTH - len(value))

    return [
        {name: to_full(value, fill[name]) if name in fill else value for name, value in row.items()} for row in rows
    ]


def seconds_of(
    workload: Workload,
    rows: dict[str, Rows],
    settings: dict[str, Any],
    options: argparse.Namespace,
    tokens: dict[str, int],
) -> float:
    """Trains for the given number of steps and returns the seconds of the measured ones."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = CountingTrainer(
            model=workload.model(),
            args=MultitaskTrainingArguments(
                output_dir=folder, target_task=next(iter(rows)), method="multitask", max_steps=WARM_UP + options.steps,
                per_device_train_batch_size=options.batch_size, save_strategy="no", report_to=[], disable_tqdm=True,
                logging_strategy="no", max_length=MAX_LENGTH, use_cpu=options.device == "cpu",
                dataloader_pin_memory=options.device != "cpu", **settings,
            ),
            train_dataset=rows,
            processing_class=workload.tokenizer,
            callbacks=[clock],
        )  # fmt: skip
        trainer.train()
    tokens["padded"], tokens["real"] = trainer.padded, trainer.real
    return clock.seconds


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", required=True, help="folder that workload.py wrote")
    parser.add_argument("--tasks", nargs="+", help="default: all")
    parser.add_argument("--data_paths", nargs="+", choices=list(DATA_PATHS), default=list(DATA_PATHS)[:3])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    add_output(parser)
    options = parser.parse_args()
    workload = Workload.load(options.workload)
    rows = {name: workload.rows[name] for name in options.tasks or workload.rows}
    pad = workload.tokenizer.pad_token_id
    tokens: dict[str, dict[str, int]] = {name: {} for name in options.data_paths}
    alternatives = {}
    for name in options.data_paths:
        grouping, is_padded, is_bf16 = DATA_PATHS[name]
        of_path = {task: padded(of_task, pad) for task, of_task in rows.items()} if is_padded else rows
        settings = {"length_grouping": grouping, "bf16": is_bf16}
        alternatives[name] = partial(seconds_of, workload, of_path, settings, options, tokens[name])
    measured = ratios(alternatives, options.data_paths[0], options.rounds)
    result = {
        "steps": options.steps,
        "batch_size": options.batch_size,
        "data_paths": {
            name: {"times_as_long": values, "padded_by_real_tokens": tokens[name]["padded"] / tokens[name]["real"]}
            for name, values in measured.items()
        },
    }
    write_result(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
