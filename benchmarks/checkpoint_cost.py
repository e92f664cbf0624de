"""Time and size of a checkpoint inside an epoch, against those of a plain Trainer that trains the same model.

python benchmarks/checkpoint_cost.py --output benchmarks/results/checkpoint_cost.json

Both trainers stand still in the middle of the last of five phases of the second epoch, and save in turn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.comparing.versions import versions
from hf_alphavil.modeling import MultitaskConfig
from memory import META_ROWS, RANDOM_SIZES, TASKS, TargetCollator, encoder_config, random_rows

BATCH_SIZE = 8
PHASE_STEPS = 3


class AtStep(TrainerCallback):
    """Calls a function once, after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Runs after each optimizer step, after the callback of phases."""
        if state.global_step == self.step:
            self.action()


class Saves:
    """
    Saves of one trainer, at one step.

    Args:
        trainer (`Trainer`): A trainer that is training.
        prepare (`Callable`, *optional*): Called before each save.
    """

    def __init__(self, trainer: Trainer, prepare: Callable[[], None] = lambda: None) -> None:
        self.trainer, self.prepare = trainer, prepare
        self.wall: list[float] = []
        self.bytes: list[int] = []

    def __call__(self) -> float:
        """Saves and returns the CPU seconds (on a GPU: wall seconds)."""
        self.prepare()
        folder = Path(self.trainer.args.output_dir) / f"checkpoint-{self.trainer.state.global_step}"
        before = {path.stat().st_ino for path in folder.rglob("*")}
        if type(self.trainer) is Trainer:
            shutil.rmtree(folder, ignore_errors=True)  # MultitaskTrainer replaces it itself
        cpu, wall = now(), time.perf_counter()
        self.trainer._save_checkpoint(self.trainer.model, trial=None)
        cost = now() - cpu
        self.wall.append(time.perf_counter() - wall)
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
        self.bytes.append(
            sum(file.st_size for file in files if type(self.trainer) is Trainer or file.st_ino not in before)
        )
        return cost


def make_trainers(size: str, folder: Path) -> tuple[Trainer, MultitaskTrainer]:
    """A plain trainer and one of αVIL, on the same model and rows."""
    torch.manual_seed(0)
    config = encoder_config(None, size)
    heads = {name: {"kind": "sequence_classification", "labels": ["no", "yes"]} for name in TASKS}
    rows = random_rows(BATCH_SIZE * PHASE_STEPS, config.vocab_size)
    common: dict[str, Any] = {
        "per_device_train_batch_size": BATCH_SIZE,
        "use_cpu": not torch.cuda.is_available(),
        "report_to": [],
        "logging_strategy": "no",
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    plain = Trainer(
        model=MultitaskModel(MultitaskConfig(encoder=config, tasks=heads)),
        args=TrainingArguments(output_dir=str(folder / "plain"), max_steps=1, **common),
        train_dataset=rows,
        data_collator=TargetCollator(),
    )
    args = MultitaskTrainingArguments(
        output_dir=str(folder / "alphavil"), target_task=TASKS[0], alphavil_preset="paper", num_train_epochs=2,
        alpha_steps=1, alpha_data="validation", alpha_batch_size=META_ROWS, **common,
    )  # fmt: skip
    ours = MultitaskTrainer(
        model=MultitaskModel(MultitaskConfig(encoder=config, tasks=heads)),
        args=args,
        train_dataset=dict.fromkeys(TASKS, rows),
        eval_dataset={TASKS[0]: random_rows(META_ROWS, config.vocab_size)},
    )
    return plain, ours


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--random_size", choices=RANDOM_SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"versions": versions(), "size": arguments.random_size}
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = make_trainers(arguments.random_size, Path(folder))
        plain.train()

        def measure() -> None:
            def forget(*parts: str) -> None:
                """Makes the next save write parts again, as the first one after they have changed does."""
                files = ours._shared_files._files
                for part, version in list(files):
                    if not parts or part in parts:
                        del files[part, version]

            ours._save_checkpoint(ours.model, trial=None)
            of_a_phase = (f"delta/{TASKS[0]}/", f"optimizer/{TASKS[0]}/")
            saves = {
                "plain Trainer": Saves(plain),
                "again in a phase": Saves(ours),
                "first in a phase": Saves(ours, lambda: forget(*of_a_phase)),
                "first in a run": Saves(ours, forget),
            }
            measured = ratios(saves, "plain Trainer", arguments.rounds)
            theta = sum(p.numel() * p.element_size() for p in ours.model.parameters())
            for name, values in measured.items():
                wall, written = statistics.median(saves[name].wall), statistics.median(saves[name].bytes)
                result[name] = {"times_as_long": values, "wall": wall, "written_theta": written / theta}

        # In the middle of the last phase of the second epoch.
        ours.add_callback(AtStep(2 * len(TASKS) * PHASE_STEPS - 2, measure))
        ours.train()
    print(json.dumps(result, indent=1))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
