"""Ranks candidate auxiliaries by what a short probe of each adds to the target's own steps.

alphavil rank --target rte --candidates all --data_dir path/to/data --output ranking.json
names=$(alphavil rank --target rte --data_dir path/to/data --top 5) &&
  alphavil train --target rte --data_dir path/to/data --auxiliary $names
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import torch

from ..distributed.launch import end_process_group
from ..files.atomic_file import atomic_write
from ..modeling.lora import LoraArguments
from ..ranking import (
    LEFT_OUT,
    PROBE_STEPS,
    ROUNDS,
    TARGET_STEPS,
    AuxiliaryRanking,
    rank_auxiliaries,
    unread_by_rankings,
)
from ..script_arguments import (
    DataArguments,
    DriverArguments,
    DriverTrainingArguments,
    check_together,
    warn_of_unread_flags,
)
from ..settings.user_errors import UserErrorsInOneLine
from .announcement import SayAtStart
from .flags import read_flags
from .train_model import load_run_model
from .train_recipe import use_recipe
from .train_tasks import load_run_tasks

#: The exit status if `--top` leaves no name to write. A user's error has 2.
NONE_LEFT = 1
#: What `--help` shows; `--help_all` shows all flags.
COMMON_FLAGS = (
    "candidates", "target_steps", "probe_steps", "rounds", "top", "output", "target", "task_config", "include_path",
    "data_dir", "model_name_or_path", "recipe", "max_train_samples", "traceback", "max_length", "alpha_data",
    "alpha_holdout_fraction", "use_peft", "per_device_train_batch_size", "learning_rate", "bf16", "seed", "use_cpu",
)  # fmt: skip


@dataclass
class RankArguments(DataArguments):
    """Which candidates, how long they are probed, and what is written."""

    help_title: ClassVar[str] = "ranking"

    candidates: list[str] = field(
        default_factory=lambda: ["all"],
        metadata={"help": "Candidate auxiliaries, as --auxiliary of `alphavil train`: names, `paper` or `all`."},
    )
    target_steps: int = field(
        default=TARGET_STEPS,
        metadata={"help": "Steps of the target before every round of probes, so that its head is not random."},
    )
    probe_steps: int = field(default=PROBE_STEPS, metadata={"help": "Steps of every task's probe."})
    rounds: int = field(default=ROUNDS, metadata={"help": "Rounds of probes, which must agree on what helped."})
    top: int | None = field(
        default=None,
        metadata={
            "help": "Write the names of at most so many candidates to stdout, the best first, for --auxiliary, and "
            "all else to stderr. Candidates that cost loss are left out."
        },
    )
    output: str | None = field(default=None, metadata={"help": "JSON file for the ranking."})


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """
    Entry point of `alphavil rank`.

    Args:
        arguments (`Sequence[str]`, *optional*): The flags. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.

    Returns:
        `int`: The exit status: 0, or 1 if `--top` leaves no candidate.
    """
    status = 0
    with UserErrorsInOneLine() as errors:
        classes = (RankArguments, DriverTrainingArguments, LoraArguments)
        ranked, args, lora, given = read_flags(errors, classes, __doc__, arguments, prog, COMMON_FLAGS)
        lora.given = given
        if ranked.target is None:
            raise ValueError("which task should the candidates help? Pass --target, for example --target rte")
        if ranked.top is not None and ranked.top < 1:
            raise ValueError(f"--top {ranked.top}: pass a positive number of names")
        with contextlib.redirect_stdout(sys.stderr) if ranked.top is not None else contextlib.nullcontext():
            ranking = _rank(ranked, args, lora, given)
            if args.process_index == 0:
                print(ranking.table())
        if args.process_index == 0 and ranked.output is not None:
            atomic_write(Path(ranked.output), json.dumps(ranking.to_dict(), indent=1))
        if ranked.top is not None:
            status = _print_names(ranking, ranked.top, args.process_index == 0)
        end_process_group()
    return status


def _print_names(ranking: AuxiliaryRanking, count: int, is_main: bool) -> int:
    """Prints the first candidates, or why there is none, and returns the exit status."""
    names = ranking.top(count)
    if names and is_main:
        print(*names)
    elif is_main:
        why = {words: [name for name, one in ranking.effects.items() if one.words == words] for words in LEFT_OUT}
        found = "; ".join(f"{words}: {', '.join(tasks)}" for words, tasks in why.items() if tasks)
        print(f"no candidate is left ({found}): pass --auxiliary none, or other --candidates", file=sys.stderr)
    return 0 if names else NONE_LEFT


def _rank(
    ranked: RankArguments, args: DriverTrainingArguments, lora: LoraArguments, given: set[str]
) -> AuxiliaryRanking:
    shared = {entry.name: getattr(ranked, entry.name) for entry in fields(DataArguments)}
    driver = DriverArguments(auxiliary=ranked.candidates, **shared)
    args.do_train, args.do_eval, args.do_predict, args.method = True, False, False, "alphavil"
    if "output_dir" not in given:  # which the trainer makes; nothing is written there
        args.output_dir = str(Path(tempfile.gettempdir()) / "alphavil_rank")
    check_together(driver, args, lora)
    said = use_recipe(driver, args, lora, given, unread_by_rankings())
    warn_of_unread_flags(driver, args)
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.accelerator.is_available()
    tasks = load_run_tasks(driver, args, str(driver.target))
    args.target_task = next(iter(tasks))
    if all(task.train is None for name, task in tasks.items() if name != args.target_task):
        raise ValueError(f"--candidates {' '.join(ranked.candidates)}: name tasks other than the target, or pass all")
    model, tokenizer = load_run_model(driver, args, lora, tasks)
    steps = ranked.target_steps, ranked.probe_steps, ranked.rounds
    return rank_auxiliaries(model, args, *steps, tasks=tasks, processing_class=tokenizer, callbacks=[SayAtStart(said)])
