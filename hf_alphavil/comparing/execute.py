"""Executes one run of a comparison.

python -m hf_alphavil.comparing.execute specs/ID.json runs/ID.json

The first file describes the run, as `alphavil compare` writes it. The second file is written at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shlex
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, TrainerCallback, set_seed

from .. import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, Task
from ..demo.suite import demo_encoder
from ..files.json_file import write_json
from ..methods import METHODS
from ..settings.task_weights import read_task_weights
from .comparison import Data, Run
from .data import load_data, split_target, tasks_of_run
from .steps import steps_without, task_steps
from .versions import versions


class BestModel(TrainerCallback):
    """
    Keeps the weights with the best score on the selection slice. Ties go to the earliest.

    Trainer's `load_best_model_at_end` would write a checkpoint after every epoch.
    """

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.epoch = 0
        self._best = -math.inf
        self.weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        score = kwargs["metrics"][args.metric_for_best_model]
        self.scores.append(score)
        value = -math.inf if math.isnan(score) else score if args.greater_is_better else -score
        if not self.weights or value > self._best:
            self.epoch, self._best = len(self.scores), value
            self.weights = {
                name: tensor.detach().cpu().clone() for name, tensor in kwargs["model"].state_dict().items()
            }


class ExampleCount(TrainerCallback):
    """Counts the examples of all optimizer steps."""

    def __init__(self) -> None:
        self.examples = 0
        self.trainer: Any = None

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        runner = self.trainer.runner
        phase, step = runner.plan.locate(runner.state.step)
        self.examples += len(phase.step_tasks[step]) * self.trainer.global_batch_size


def execute(run: Run) -> dict[str, Any]:
    """
    Trains, chooses the best epoch on the selection slice, and scores its model on the validation set.

    Args:
        run (`Run`): The run.

    Returns:
        `dict[str, Any]`: The result, with the keys listed in benchmarks/README.md.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _execute(run, Path(folder))


def _execute(run: Run, folder: Path) -> dict[str, Any]:
    method = METHODS[run.method]
    loaded = load_data(run.data)
    split = split_target(loaded[run.target], run.data)
    tasks = tasks_of_run(loaded, run.target, split, run.without)
    trained_rows = split.rest if method.needs_meta_set else split.rest_and_meta
    args = training_args(run, loaded, len(trained_rows), str(folder / "out"))
    encoder = run.data.model_name_or_path
    if encoder is None:
        encoder = str(folder / "encoder")
        demo_encoder(encoder, run.data.data_seed)
    # All runs start from the same weights, so every model has all heads, also those that are not trained.
    set_seed(run.seed)
    best, count = BestModel(), ExampleCount()
    trainer = MultitaskTrainer(
        model=MultitaskModel.from_encoder(encoder, tasks=loaded),
        args=args,
        tasks=tasks,
        processing_class=AutoTokenizer.from_pretrained(encoder),
        callbacks=[best, count],
    )
    count.trainer = trainer
    _check_split(trainer, tasks[run.target], loaded[run.target], trained_rows)
    trained = trainer.train()
    on_gpu = args.device.type == "cuda"
    # Linux reports KiB, macOS bytes.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    gpu_memory = torch.cuda.max_memory_allocated() if on_gpu else None
    trainer.model.load_state_dict(best.weights)
    metrics = trainer.predict().metrics or {}
    prefix = f"test_{run.target}_"
    scores = {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix) and not name.endswith(("_runtime", "_per_second"))
    }
    main_metric = tasks[run.target].main_metric
    return {
        "name": run.name,
        "method": run.method,
        "target": run.target,
        "seed": run.seed,
        "without": run.without,
        "metric": main_metric,
        "score": scores[main_metric],
        "greater_is_better": bool(tasks[run.target].greater_is_better),
        "scores": scores,
        "chosen_epoch": best.epoch,
        "selection_score": best.scores[best.epoch - 1],
        "selection_scores": best.scores,
        "task_weights": trainer.history[-1]["task_weights"] if trainer.history else {},
        "rows": {
            "train": {name: trainer.task_setup.num_rows(name) for name in tasks},
            "meta": len(split.meta),
            "selection": len(split.selection),
            "validation": len(loaded[run.target].split("validation")),
        },
        "steps": trainer.state.global_step,
        "examples": count.examples,
        "seconds": trained.metrics["train_runtime"],
        "peak_memory": memory,
        "peak_gpu_memory": gpu_memory,
        "device": torch.cuda.get_device_name() if on_gpu else args.device.type,
        "versions": versions(),
        "run": asdict(run),
    }


def training_args(run: Run, tasks: dict[str, Task], target_rows: int, output_dir: str) -> MultitaskTrainingArguments:
    """
    The training arguments of a run.

    A run that leaves out tasks gets as many optimizer steps, and evaluations of the selection slice, as one with all
    of them: as multitask if its method trains only some tasks, else as its method ([`steps_without`]).

    Args:
        run (`Run`): The run.
        tasks (`dict[str, Task]`): All tasks of the comparison.
        target_rows (`int`): Number of the target's rows that are trained on.
        output_dir (`str`): A folder. Nothing is written to it.
    """
    settings: dict[str, Any] = {
        "report_to": [],
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.accelerator.is_available(),
        **run.settings,
    }
    if weights := read_task_weights(settings.get("task_weights")):  # which may name the auxiliary that is left out
        settings["task_weights"] = {name: weight for name, weight in weights.items() if name != run.without}
    args = MultitaskTrainingArguments(
        output_dir=output_dir,
        target_task=run.target,
        method=run.method,
        seed=run.seed,
        data_seed=run.data.data_seed,
        alpha_data="train_holdout",
        alpha_holdout_fraction=run.data.meta_fraction,
        eval_strategy="epoch",
        save_strategy="no",
        **settings,
    )
    trains_all = all(METHODS[run.method].trains_on(name, run.target) for name in tasks)
    if trains_all and run.without is None:
        return args
    # Its epochs have fewer steps, so it takes more epochs, but is evaluated as often as the others.
    num_rows = {name: len(task.split("train")) for name, task in tasks.items()} | {run.target: target_rows}
    epochs = round(args.num_train_epochs)
    if run.without is not None:
        args.max_steps = steps_without(args, num_rows, run.without)
    else:
        args.max_steps = epochs * sum(task_steps(args, num_rows).values())
    args.eval_strategy, args.eval_steps = transformers.IntervalStrategy.STEPS, args.max_steps // epochs
    return args


def _check_split(trainer: MultitaskTrainer, given: Task, loaded: Task, expected: list[int]) -> None:
    """Checks that the trainer trains on the rows that it should."""
    trained = trainer.train_datasets[given.name].dataset
    rows = given.split("train")
    if trainer.meta_set is not None:
        rows = rows.select(trained.indices)
    if rows[:] != loaded.split("train").select(expected)[:]:
        raise RuntimeError(f"method {trainer.args.method!r} would not train on the rows of the split")


def end_with(parent: int) -> None:
    """
    Ends this process when its parent is gone, even if the parent was killed.

    Args:
        parent (`int`): Process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="JSON file that describes the run")
    parser.add_argument("result", type=Path, help="JSON file to write the result to")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    options = parser.parse_args()
    if options.parent is not None:
        end_with(options.parent)
    spec = json.loads(options.spec.read_text(encoding="utf-8"))
    run = Run(**(spec | {"data": Data(**spec["data"])}))
    command = shlex.join(["python", "-m", "hf_alphavil.comparing.execute", str(options.spec), str(options.result)])
    write_json(options.result, {"id": options.result.stem, **execute(run), "command": command})


if __name__ == "__main__":
    main()
