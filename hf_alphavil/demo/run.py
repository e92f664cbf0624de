"""The demo: compares methods on the demo suite, where it is known which auxiliary task helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, set_seed

from ..data import steps_per_task
from ..methods import METHODS
from ..modeling import MultitaskModel
from ..reporting import format_comparison_table, format_summary_table, plot_task_weights, write_history
from ..reporting.page import PAGE_FILE
from ..setup.unused_settings import unread_settings
from ..tasks import Task
from ..trainer import MultitaskTrainer
from ..training_args import MultitaskTrainingArguments
from .suite import DEMO_TARGET, demo_encoder, demo_tasks

DEMO_METHODS = ("single", "multitask", "alphavil")

#: Settings of all methods. They were chosen on seeds 0 to 4 and 10 to 13 of the suite; benchmarks/demo_suite.py shows
#: results on other seeds. Half of an epoch is a joint phase: after only a few of its own steps, the target's head
#: knows too little for α to distinguish the tasks. Joint phases draw tasks by weight. For `multitask` that is uniform
#: sampling, the stronger baseline. All texts have 8 to 14 words, so that grouping them by length would save little.
DEMO_SETTINGS: dict[str, Any] = {
    "num_train_epochs": 6.0,
    "learning_rate": 4e-4,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 256,
    "delta_fraction": 0.5,
    "alphavil_preset": "paper",
    "joint_fraction": 0.5,
    "task_sampling": "weights",
    "alpha_holdout_fraction": 0.3,
    "max_length": 16,
    "length_grouping": "off",
    "logging_strategy": "no",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}


def run_demo_method(
    method: str, tasks: dict[str, Task], encoder: str | Path, output_dir: str | Path, **settings: Any
) -> tuple[float, list[dict[str, Any]]]:
    """
    Trains the demo suite with one method. `single` takes as many optimizer steps as `multitask`, in more epochs.

    Args:
        method (`str`): The method.
        tasks (`dict[str, Task]`): The suite.
        encoder (`str` or `Path`): Folder of the demo encoder.
        output_dir (`str` or `Path`): Output folder of the run.
        settings (`Any`): Training arguments that override those of `DEMO_SETTINGS`.

    Returns:
        `tuple[float, list[dict]]`: The target's accuracy on its test rows, and the history.
    """
    shared = {name: value for name, value in DEMO_SETTINGS.items() if name not in unread_settings(METHODS[method])}
    options = shared | {"report_to": []} | settings
    args = MultitaskTrainingArguments(output_dir=str(output_dir), target_task=DEMO_TARGET, method=method, **options)
    if method == "single":
        # As many optimizer steps as the others: in the same number of epochs it would take only a handful of steps.
        num_rows = {name: len(task.split("train")) for name, task in tasks.items()}
        steps = steps_per_task(num_rows, args.train_batch_size, args.delta_fraction)
        args.max_steps = math.ceil(args.num_train_epochs * sum(steps.values()))
    set_seed(args.seed)
    trainer = MultitaskTrainer(
        model=MultitaskModel.from_encoder(encoder, tasks=tasks),
        args=args,
        tasks=tasks,
        processing_class=AutoTokenizer.from_pretrained(encoder),
    )
    trainer.train()
    if method == "alphavil":
        trainer.evaluate()  # the page shows the scores on the validation sets
        trainer.write_report()
    metrics = trainer.predict().metrics or {}
    return metrics[f"test_{DEMO_TARGET}_accuracy"], trainer.history


def run_demo(args: MultitaskTrainingArguments, methods: Sequence[str] = DEMO_METHODS, **settings: Any) -> None:
    """
    Trains the demo suite with several methods, prints a table and plots αVIL's task weights.

    Args:
        args (`MultitaskTrainingArguments`):
            Only the output folder, seed, `use_cpu` and `disable_tqdm` are used. The demo sets everything else.
        methods (`Sequence[str]`, *optional*, defaults to `DEMO_METHODS`):
            The methods, which must include `alphavil`. A method whose library is missing is skipped with a message.
        settings (`Any`): Training arguments of all methods that override those of `DEMO_SETTINGS`.
    """
    folder = Path(str(args.output_dir))
    encoder = folder / "encoder"
    demo_encoder(encoder, args.seed)
    tasks = demo_tasks(args.seed)
    runs = {}
    for method in methods:
        try:
            METHODS[method].check_available()
        except ImportError as missing:
            print(f"{method}: skipped, {missing}", flush=True)
            continue
        runs[method] = run_demo_method(
            method,
            tasks,
            encoder,
            folder / method,
            seed=args.seed,
            disable_tqdm=args.disable_tqdm,
            use_cpu=args.use_cpu,
            **settings,
        )
        print(f"{method}: target test accuracy {runs[method][0]:.4f}", flush=True)
    score, history = runs["alphavil"]
    write_history(history, folder)
    plot = plot_task_weights(history, DEMO_TARGET, folder / "plots" / "task_weights.png")
    print("\nBy design, `helpful` shares the target's rule, `unrelated` has another, and `noise` has random labels.\n")
    print(format_summary_table(DEMO_TARGET, "test accuracy", score, history, "alphavil"))
    print()
    print(format_comparison_table(DEMO_TARGET, "test accuracy", runs))
    print(f"\nTask weights over the epochs: {plot}")
    page = folder / "alphavil" / PAGE_FILE
    if page.is_file():
        print(f"All that αVIL's run found: {page}")
