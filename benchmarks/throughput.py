"""Training rows per CPU second: rows of similar length in a batch, random batches, and all rows padded to 128 tokens.

python benchmarks/throughput.py --data_dir ../shared/data --model_name_or_path ENCODER

All three train the same model on the same number of rows of the paper's five tasks, in turn. The first steps of a run
are not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainerCallback

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, Task, load_tasks
from provenance import versions

TASKS = ("rte", "mrpc", "wnli", "cb", "copa")
MAX_LENGTH = 128
#: Steps before the measurement starts.
WARM_UP = 2
DATA_PATHS = {"similar lengths": "auto", "random batches": "off", "padded to 128": "off"}


class Clock(TrainerCallback):
    """Seconds of the steps after the warm-up, and tokens of all batches."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step."""
        if state.global_step == WARM_UP:
            self.began = now()
        self.seconds = now() - self.began


class CountingTrainer(MultitaskTrainer):
    """Counts tokens with and without padding."""

    padded = real = 0

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.padded += inputs["attention_mask"].numel()
        self.real += int(inputs["attention_mask"].sum())
        return super().training_step(model, inputs, *args, **kwargs)


def padded(rows: Any, pad: int) -> Any:
    """Token ids, masks and types of every row (or choice) with padding up to 128."""
    fill = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0}

    def to_full(value: Any, filler: int) -> Any:
        if isinstance(value[0], list):
            return [to_full(choice, filler) for choice in value]
        return value + [filler] * (MAX_LENGTH - len(value))

    return rows.map(lambda row: {name: to_full(row[name], fill[name]) for name in fill if name in row})


def seconds_of(
    rows: dict[str, Any], length_grouping: str, tasks: dict[str, Task], tokenizer: Any, arguments: Any, tokens: dict
) -> float:
    """Trains for the given number of steps and returns the seconds of the measured ones."""
    torch.manual_seed(0)
    clock = Clock()
    trainer = CountingTrainer(
        model=MultitaskModel.from_encoder(arguments.model_name_or_path, tasks=tasks),
        args=MultitaskTrainingArguments(
            output_dir=tempfile.mkdtemp(), target_task=TASKS[0], method="multitask",
            max_steps=WARM_UP + arguments.steps,
            per_device_train_batch_size=arguments.batch_size, length_grouping=length_grouping, save_strategy="no",
            report_to=[], disable_tqdm=True, logging_strategy="no", max_length=MAX_LENGTH,
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[clock],
        tasks=tasks,
    )  # fmt: skip
    trainer.train()
    tokens["padded"], tokens["real"] = trainer.padded, trainer.real
    return clock.seconds


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model_name_or_path)
    tasks = load_tasks(list(TASKS), data_dir=arguments.data_dir)
    short = {name: task.tokenize("train", tokenizer, MAX_LENGTH) for name, task in tasks.items()}
    full = {name: padded(rows, tokenizer.pad_token_id) for name, rows in short.items()}
    tokens: dict[str, dict[str, int]] = {name: {} for name in DATA_PATHS}
    alternatives = {
        name: partial(
            seconds_of, full if name == "padded to 128" else short, mode, tasks, tokenizer, arguments, tokens[name]
        )
        for name, mode in DATA_PATHS.items()
    }
    measured = ratios(alternatives, "similar lengths", arguments.rounds)
    result = {"versions": versions(), "steps": arguments.steps, "batch_size": arguments.batch_size}
    result["data_paths"] = {
        name: {"times_as_long": values, "padded_by_real_tokens": tokens[name]["padded"] / tokens[name]["real"]}
        for name, values in measured.items()
    }
    print(json.dumps(result, indent=1))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
