"""Compares the cost of every method with that of multitask training on as many examples, in one process.

python benchmarks/method_costs.py --output benchmarks/results/method_costs.json

All methods train the same encoder (BERT, 4 layers of width 256) on five generated tasks of equal size for two epochs.
The seconds of a run are divided by the mean of the multitask runs before and after it, so that a temporary slowdown of
the machine affects both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import BertConfig, BertModel, set_seed

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.comparing.versions import versions
from hf_alphavil.files.markdown import markdown_table
from hf_alphavil.methods import METHODS

TASKS = ("target", "first", "second", "third", "fourth")
BATCH_SIZE, LENGTH, VOCABULARY = 16, 24, 1000
BATCHES_PER_TASK = 15
#: Number of methods between two multitask runs.
PER_BASELINE = 2
#: Held-out rows of the target, as many as the default of `alpha_batch_size`.
META_ROWS = 64


def rows(count: int, seed: int) -> Dataset:
    """
    Random token ids with random labels. Their values do not affect the cost.

    Args:
        count (`int`): Number of rows.
        seed (`int`): Seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (count, LENGTH), generator=generator)
    labels = torch.randint(2, (count,), generator=generator)
    columns = {"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist(), "labels": labels.tolist()}
    return Dataset.from_dict(columns).with_format("torch")


def seconds_of(method: str, encoder: Path) -> float:
    """
    Measures the seconds that a method needs for two epochs.

    Args:
        method (`str`): The method.
        encoder (`Path`): Folder of the encoder.
    """
    set_seed(0)
    head = {"kind": "sequence_classification", "labels": ["0", "1"], "problem_type": "single_label_classification"}
    names = [name for name in TASKS if METHODS[method].trains_on(name, TASKS[0])]
    with tempfile.TemporaryDirectory() as folder:
        args = MultitaskTrainingArguments(
            output_dir=folder, target_task=TASKS[0], method=method, use_cpu=True, disable_tqdm=True, report_to=[],
            alphavil_preset="paper" if method == "alphavil" else "joint",
            save_strategy="no", logging_strategy="no", num_train_epochs=2, per_device_train_batch_size=BATCH_SIZE,
            # As many batches of the target as the others take from all tasks.
            max_steps=2 * BATCHES_PER_TASK * len(TASKS) if method == "single" else -1,
            alpha_data="validation", learning_rate=1e-4, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = MultitaskTrainer(
            model=MultitaskModel.from_encoder(encoder, tasks=dict.fromkeys(names, head)),
            args=args,
            train_dataset={name: rows(BATCH_SIZE * BATCHES_PER_TASK, seed) for seed, name in enumerate(names)},
            eval_dataset={TASKS[0]: rows(META_ROWS, 99)},
        )
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def measure(methods: Sequence[str]) -> list[dict[str, Any]]:
    """
    Measures the seconds of every method and of the multitask runs before and after it.

    Args:
        methods (`Sequence[str]`): The methods.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        config = BertConfig(
            vocab_size=VOCABULARY, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
        )
        set_seed(0)
        BertModel(config).save_pretrained(folder)
        seconds_of("multitask", Path(folder))  # warms up
        before = seconds_of("multitask", Path(folder))
        for i in range(0, len(methods), PER_BASELINE):
            own = {method: seconds_of(method, Path(folder)) for method in methods[i : i + PER_BASELINE]}
            after = seconds_of("multitask", Path(folder))
            for method, seconds in own.items():
                ratio = 2 * seconds / (before + after)
                results.append({"method": method, "seconds": seconds, "multitask": [before, after], "ratio": ratio})
                print(f"{method}: {seconds:.1f} s, {ratio:.2f} times multitask", file=sys.stderr, flush=True)
            before = after
    return results


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    results = measure(options.methods)
    print(markdown_table(["method", "× multitask"], [[r["method"], f"{r['ratio']:.2f}"] for r in results]))
    if options.output:
        report = {
            "command": " ".join(["python", *sys.argv]),
            "versions": versions(),
            "threads": torch.get_num_threads(),
            "results": results,
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
