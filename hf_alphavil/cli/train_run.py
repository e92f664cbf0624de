"""One run of the script, from its tasks to its report."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from ..modeling.lora import LoraArguments, adapter_settings, holds_adapters, holds_heads
from ..reporting import format_summary_table, plot_task_weights
from ..reporting.card import scores_of
from ..script_arguments import DriverArguments, DriverTrainingArguments, warn_of_unread_flags, warn_of_unread_hub_flags
from ..setup.datasets import tokenized_split
from ..tasks import describe_submission, make_submission, write_submission
from ..tasks.selection import predicted_tasks
from ..trainer import MultitaskTrainer
from .announcement import SayAtStart
from .train_folder import RemoveCheckpoints
from .train_model import load_run_model
from .train_tasks import load_run_tasks

logger = logging.getLogger(__name__)

#: The exit status that shells give a process ended by SIGTERM: it tells a scheduler that the run is unfinished.
STOPPED_BY_SIGTERM = 128 + signal.SIGTERM


def run(driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments, said: Sequence[str] = ()) -> int:
    """
    Loads, trains, evaluates, predicts, exports and pushes.

    Args:
        driver, args, lora: The arguments of the run.
        said (`Sequence[str]`, *optional*): What to print when training starts, or at once if the run does not train.

    Returns:
        `int`: The script's exit status.
    """
    assert driver.target is not None  # `check_together`
    warn_of_unread_flags(driver, args)
    warn_of_unread_hub_flags(args)
    # Pinned memory speeds up copies to an accelerator; without one it only warns.
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.accelerator.is_available()

    # Tasks. All data that the run reads is checked before training, so that no run fails after hours.
    tasks = load_run_tasks(driver, args, driver.target)
    target = args.target_task = next(iter(tasks))
    if tasks[target].validation is None and (args.do_eval or (args.do_train and args.eval_strategy != "no")):
        raise ValueError(
            f"the target {target} has no validation split to evaluate on: add one, write `validation_fraction: 0.1` "
            "into its YAML file, or pass --do_train alone"
        )
    if not args.do_train:
        tasks = {name: replace(task, train=None) for name, task in tasks.items()}
    predicted = {}
    if args.do_predict or driver.make_submission:
        predicted = predicted_tasks(tasks, target, driver.make_submission, driver.data_dir)

    # Tokenizer and model
    path, revision = driver.model_name_or_path, driver.model_revision
    is_trained = holds_adapters(path) or holds_heads(path, revision)
    if not (args.do_train or is_trained):
        logger.warning("%s has no heads: they start at random, and nothing will train them", path)
    model, tokenizer = load_run_model(driver, args, lora, tasks)
    # Those of a folder that had them already are no flags.
    adapters = {
        name: value for name, value in adapter_settings(model).items() if value != getattr(LoraArguments, name)
    }
    args.script_settings = {**args.script_settings, **adapters}  # type: ignore[misc]  # this run's

    # Training
    start = SayAtStart(said)
    callbacks: list[TrainerCallback] = [start, *([RemoveCheckpoints()] if driver.overwrite_output_dir else [])]
    if driver.early_stopping_patience is not None and args.do_train:
        callbacks.append(EarlyStoppingCallback(driver.early_stopping_patience, driver.early_stopping_threshold))
    trainer = MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=tokenizer, callbacks=callbacks)
    test_sets = tokenized_split(predicted, "test", tokenizer, args)
    is_main = trainer.is_world_process_zero()
    output_dir = Path(str(args.output_dir))
    if not args.do_train and is_main:
        print(*said, sep="\n", end="\n" if said else "")
    if args.do_train:
        checkpoint = True if args.resume_from_checkpoint in ("true", "True") else args.resume_from_checkpoint
        metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
        if trainer.preempted:
            print("stopped by SIGTERM; `--resume_from_checkpoint auto` continues from the checkpoint")
            return STOPPED_BY_SIGTERM
        trainer.save_model(_internal_call=True)  # without a push, which comes at the end
        if trainer.state.global_step > start.first_step:
            trainer.log_metrics("train", metrics)
            trainer.save_metrics("train", metrics)
            trainer.save_state()
        elif is_main:
            print(f"nothing was left to train: the run in {output_dir} had ended at step {start.first_step}")
    # Before any evaluation, which may leave the model in half precision (--bf16_full_eval).
    trainer.export_task(target, output_dir / "export" / target)

    # Evaluation and prediction
    scores = {}
    if args.do_eval:
        scores = trainer.evaluate()
        trainer.log_metrics("eval", scores)
        trainer.save_metrics("eval", scores)
    files = []
    for task in predicted.values():
        predictions = trainer.predict(task.name).predictions
        if is_main:
            files.append(write_submission(task, predictions, output_dir / "predictions", test_sets[task.name]))
            print(f"wrote {files[-1]}")

    # Report. Without training, the folder may hold the report of the run that trained the model: keep it.
    if args.do_train and is_main:
        if trainer.history:
            plot_task_weights(trainer.history, target, output_dir / "plots" / "task_weights.png")
        trainer.create_model_card()
        page = trainer.write_report(driver.report_examples)
        if page is not None:
            print(f"wrote {page}")
    if (args.do_train or args.do_eval) and is_main:
        metric = tasks[target].main_metric
        score = scores.get(f"eval_{target}_{metric}")
        scored = scores_of(trainer.task_setup, trainer.state.log_history) if args.do_eval else []
        print(format_summary_table(target, f"validation {metric}", score, trainer.history, args.method, scored))
    if driver.make_submission and is_main:
        archive = output_dir / f"{driver.make_submission}.zip"
        origins = make_submission(driver.make_submission, files, archive, driver.data_dir)
        print(describe_submission(origins, archive))
    if args.push_to_hub and (pushed := trainer.push_to_hub()) is not None:  # None on other processes than the main
        print(f"pushed to {pushed.repo_url}")
    trainer.accelerator.end_training()
    return 0
