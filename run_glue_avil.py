"""Trains a target task of GLUE, SuperGLUE or your own with the help of auxiliary tasks by αVIL (arXiv 2405.07769).

accelerate launch run_glue_avil.py --target rte --output_dir out/rte
accelerate launch run_glue_avil.py --target mytask --task_config tasks.yaml --auxiliary rte --output_dir out/mytask
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import set_seed

from hf_alphavil import MultitaskTrainer, Task, load_tasks
from hf_alphavil.distributed.launch import end_process_group, start_missing_processes
from hf_alphavil.files.output_folder import check_can_write
from hf_alphavil.methods import METHODS
from hf_alphavil.modeling import unwrap_peft
from hf_alphavil.modeling.loading import load_tokenizer
from hf_alphavil.modeling.lora import LoraArguments, holds_adapters, holds_heads, load_model
from hf_alphavil.recipes import AUTO, NO_RECIPE, describe_recipe, find_recipe
from hf_alphavil.reporting import format_summary_table, plot_task_weights, write_history
from hf_alphavil.script_arguments import (
    DriverArguments,
    DriverTrainingArguments,
    check_together,
    warn_of_unread_flags,
)
from hf_alphavil.settings.changed import changed_fields
from hf_alphavil.settings.command_line import parse_command_line
from hf_alphavil.settings.user_errors import UserErrorsInOneLine
from hf_alphavil.setup.datasets import tokenized_split
from hf_alphavil.tasks import describe_submission, diagnostics, make_submission, write_submission
from hf_alphavil.tasks.registry import own_definitions
from hf_alphavil.tasks.selection import check_roles, predicted_tasks, training_names
from hf_alphavil.tasks.task import SPLITS

logger = logging.getLogger(__name__)

#: The exit status that shells give a process ended by SIGTERM: it tells a scheduler that the run is unfinished.
STOPPED_BY_SIGTERM = 128 + signal.SIGTERM


def use_recipe(driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments, given: set[str]) -> None:
    """Sets what a recipe says and no flag gives, and prints it. From here on, `driver.recipe` is the recipe's name."""
    assert driver.target is not None  # `check_together`
    if driver.recipe == NO_RECIPE or not args.trains:
        return
    recipe, wanted = None, f"{driver.target} with {driver.model_name_or_path}"
    if driver.recipe == AUTO and (lora.use_peft or holds_adapters(driver.model_name_or_path)):
        wanted += " and adapters"  # the recipes of this package are for training all weights
    else:
        recipe = find_recipe(driver.recipe, driver.target, driver.model_name_or_path, driver.model_revision)
    if recipe is not None:
        recipe.apply(args, given)
        driver.recipe = recipe.name
    if args.process_index == 0:
        print(describe_recipe(recipe, wanted, args, given))


def load_run_tasks(driver: DriverArguments, args: DriverTrainingArguments, target: str) -> dict[str, Task]:
    """The target, the auxiliaries that the method trains on, and the sets that are scored with their heads."""
    names = [name for name in training_names(target, driver.auxiliary) if METHODS[args.method].trains_on(name, target)]
    scored = list(driver.diagnostics)
    if driver.make_submission:
        scored += diagnostics(driver.make_submission, names)
    include_path = [path for path in (driver.task_config, driver.include_path) if path is not None]
    check_roles(names, driver.diagnostics, own_definitions(include_path))
    reads_test = args.do_predict or driver.make_submission or args.alpha_data == "test"
    tasks = load_tasks(
        [*names, *scored],
        data_dir=driver.data_dir,
        revision=driver.data_revision,
        include_path=include_path,
        splits=SPLITS if reads_test else ("train", "validation"),
    )
    return {
        name: task.select(
            driver.max_train_samples, driver.max_eval_samples, args.resolved_data_seed, driver.max_predict_samples
        )
        for name, task in tasks.items()
    }


def run(driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments) -> int:
    """Loads, trains, evaluates, predicts, exports and pushes; returns the script's exit status."""
    assert driver.target is not None  # `check_together`
    if not args.is_told_what_to_do:
        args.do_train = args.do_eval = True
    warn_of_unread_flags(driver, args)
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
    tokenizer = load_tokenizer(path, revision)
    set_seed(args.seed)
    if not (args.do_train or is_trained):
        logger.warning("%s has no heads: they start at random, and nothing will train them", path)
    model = load_model(path, tasks, lora, revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        unwrap_peft(model).pad_token_id = tokenizer.pad_token_id

    # Training
    trainer = MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=tokenizer)
    test_sets = tokenized_split(predicted, "test", tokenizer, args)
    is_main = trainer.is_world_process_zero()
    output_dir = Path(str(args.output_dir))
    if args.do_train:
        checkpoint = True if args.resume_from_checkpoint in ("true", "True") else args.resume_from_checkpoint
        metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
        if trainer.preempted:
            print("stopped by SIGTERM; `--resume_from_checkpoint auto` continues from the checkpoint")
            return STOPPED_BY_SIGTERM
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()
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
        write_history(trainer.history, output_dir)
        if trainer.history:
            plot_task_weights(trainer.history, target, output_dir / "plots" / "task_weights.png")
        trainer.create_model_card()
    if (args.do_train or args.do_eval) and is_main:
        metric = tasks[target].main_metric
        score = scores.get(f"eval_{target}_{metric}")
        print(format_summary_table(target, f"validation {metric}", score, trainer.history, args.method))
    if driver.make_submission and is_main:
        archive = output_dir / f"{driver.make_submission}.zip"
        origins = make_submission(driver.make_submission, files, archive, driver.data_dir)
        print(describe_submission(origins, archive))
    if args.push_to_hub:
        trainer.push_to_hub()
    trainer.accelerator.end_training()
    return 0


def main() -> int:
    """Entry point; returns the exit status."""
    with UserErrorsInOneLine() as errors:
        start_missing_processes()
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
        driver, args, lora, given = parse_command_line(
            (DriverArguments, DriverTrainingArguments, LoraArguments), __doc__
        )
        errors.traceback |= driver.traceback
        check_together(driver, args, lora)
        check_can_write(args.output_dir)
        if driver.demo:
            from hf_alphavil.demo.run import DEMO_METHODS, run_demo  # with the code of its encoder's architecture

            run_demo(args, list(METHODS) if args.all_methods else list(dict.fromkeys([*DEMO_METHODS, args.method])))
            status = 0
        else:
            use_recipe(driver, args, lora, given)
            args.script_settings = changed_fields(driver) | changed_fields(lora)
            status = run(driver, args, lora)
        end_process_group()
    return status


if __name__ == "__main__":
    gc.freeze()  # what the imports made stays: collections need not look at it
    sys.exit(main())
