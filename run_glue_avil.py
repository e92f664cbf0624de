"""Trains a target, of GLUE, SuperGLUE or your own, with auxiliary tasks by αVIL (arXiv 2405.07769).

accelerate launch run_glue_avil.py --target rte --output_dir out/rte
accelerate launch run_glue_avil.py --target mytask --task_config tasks.yaml --auxiliary rte --output_dir out/mytask
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoTokenizer, HfArgumentParser, set_seed

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments, Task, load_tasks
from hf_alphavil.demo.run import DEMO_METHODS, run_demo
from hf_alphavil.distributed.launch import end_process_group, start_missing_processes
from hf_alphavil.methods import METHODS
from hf_alphavil.modeling import unwrap_peft
from hf_alphavil.modeling.lora import LoraArguments, add_lora, holds_adapters, holds_heads, load_adapted, load_base
from hf_alphavil.reporting import format_summary_table, plot_task_weights, write_history
from hf_alphavil.setup.datasets import tokenized_split
from hf_alphavil.tasks import (
    BENCHMARKS,
    check_test_sets,
    describe_submission,
    diagnostics,
    make_submission,
    submission_format,
    write_submission,
)

logger = logging.getLogger(__name__)

#: The tasks of the paper's NLU setups: each is a target with the other four as auxiliaries.
PAPER_TASKS = ("cb", "copa", "mrpc", "rte", "wnli")

#: The exit status that shells give a process ended by SIGTERM: a scheduler takes the run for unfinished.
STOPPED_BY_SIGTERM = 128 + signal.SIGTERM


@dataclass
class DriverArguments:
    """What to train, on which data, from which encoder."""

    target: str | None = field(
        default=None, metadata={"help": "The task to train, such as rte. Required without --demo."}
    )
    auxiliary: list[str] = field(
        default_factory=lambda: ["paper"],
        metadata={"help": "Auxiliary tasks: names, `paper` (the paper's setup for the target) or `none`."},
    )
    diagnostics: list[str] = field(
        default_factory=list,
        metadata={"help": "Sets to evaluate and predict with the head of another task: ax (of mnli), axb, axg (rte)."},
    )
    task_config: str | None = field(
        default=None, metadata={"help": "YAML file that defines tasks of your own (docs/tasks.md)."}
    )
    include_path: str | None = field(default=None, metadata={"help": "Folder of such YAML files."})
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder with the official GLUE/SuperGLUE files; without it, the Hub."}
    )
    data_revision: str | None = field(default=None, metadata={"help": "Revision of the Hub datasets."})
    model_name_or_path: str = field(
        default="roberta-base", metadata={"help": "Encoder by Hub id or folder, or a folder saved by this script."}
    )
    model_revision: str | None = field(default=None, metadata={"help": "Revision of the encoder on the Hub."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Rows of each task's training set to use."})
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Rows of each task's validation and test set to use."}
    )
    make_submission: str | None = field(
        default=None,
        metadata={
            "help": "Predict the test sets of all tasks and zip a leaderboard's complete set of files, with "
            "placeholders for what was not trained.",
            "choices": BENCHMARKS,
        },
    )
    demo: bool = field(
        default=False, metadata={"help": "Run the built-in demo suite: no network, about a minute on two cores."}
    )


@dataclass
class DriverTrainingArguments(MultitaskTrainingArguments):
    """The trainer's arguments, for a script that a scheduler may stop."""

    enable_jit_checkpoint: bool = field(
        default=True, metadata={"help": "Whether SIGTERM writes a checkpoint and ends the script."}
    )

    def __post_init__(self) -> None:
        self.all_methods = self.method == "all"
        if self.all_methods:  # for the demo, which shows them side by side
            self.method = "alphavil"
        super().__post_init__()


ARGUMENTS = (DriverArguments, LoraArguments, DriverTrainingArguments)


def read_flags(file: Path) -> dict[str, Any]:
    """A YAML or JSON file of flags, named as on the command line."""
    said = (json.loads if file.suffix == ".json" else yaml.safe_load)(file.read_text(encoding="utf-8-sig"))
    if not isinstance(said, dict):
        raise ValueError(f"{file} is no mapping from flags to values")
    known = [argument for one in ARGUMENTS for argument in fields(one)]
    names = {alias.lstrip("-"): one.name for one in known for alias in one.metadata.get("aliases", ())}
    floats = {one.name for one in known if one.type in (float, "float", "float | None")}
    flags = {names.get(key, str(key)): value for key, value in said.items()}
    # YAML takes 5e-5 for a string: it wants 5.0e-5.
    return {
        name: float(value) if name in floats and isinstance(value, str) else value for name, value in flags.items()
    }


def parse_arguments() -> tuple[DriverArguments, LoraArguments, DriverTrainingArguments]:
    """Reads the command line, or the YAML or JSON file that is its only word."""
    parser = HfArgumentParser(ARGUMENTS)  # type: ignore[arg-type]
    if len(sys.argv) == 2 and sys.argv[1].endswith((".yaml", ".yml", ".json")):
        driver, lora, args = parser.parse_dict(read_flags(Path(sys.argv[1])))
    else:
        driver, lora, args = parser.parse_args_into_dataclasses()
    return driver, lora, args


def task_names(target: str, auxiliary: list[str]) -> list[str]:
    """The target and its auxiliaries, the target first."""
    if auxiliary == ["none"]:
        return [target]
    names = [name for word in auxiliary for name in (PAPER_TASKS if word == "paper" else (word,))]
    return list(dict.fromkeys([target, *names]))


def load_run_tasks(driver: DriverArguments, args: DriverTrainingArguments) -> dict[str, Task]:
    """The target, the auxiliaries that the method trains, and sets that are evaluated with the heads of these."""
    assert driver.target is not None
    names = [
        name
        for name in task_names(driver.target, driver.auxiliary)
        if METHODS[args.method].trains_on(name, driver.target)
    ]
    evaluated = list(driver.diagnostics)
    if driver.make_submission:
        evaluated += diagnostics(driver.make_submission, names)
    loaded = load_tasks(
        [*names, *evaluated],
        data_dir=driver.data_dir,
        revision=driver.data_revision,
        include_path=[path for path in (driver.task_config, driver.include_path) if path is not None],
    )
    return {
        name: task.select(driver.max_train_samples, driver.max_eval_samples, seed=args.resolved_data_seed)
        for name, task in loaded.items()
    }


def check_validation_set(args: DriverTrainingArguments, target: Task) -> None:
    """Whether what is to be evaluated can be: told before training, and not after it."""
    if target.validation is None and (args.do_eval or (args.do_train and args.eval_strategy != "no")):
        raise ValueError(
            f"the target {target.name} has no validation split to evaluate on: add one, write `validation_fraction: "
            "0.1` into its YAML file, or pass --do_train alone"
        )


def predicted_tasks(driver: DriverArguments, args: DriverTrainingArguments, tasks: dict[str, Task]) -> dict[str, Task]:
    """The tasks whose test sets are to be predicted: of a target alone its own, for a leaderboard every task's."""
    if not (args.do_predict or driver.make_submission):
        return {}
    predicted = {
        name: task
        for name, task in tasks.items()
        # MNLI has two test sets; masked tokens say nothing about a row.
        if (driver.make_submission or args.target_task in (name, task.head_task))
        if task.test is not None and task.kind != "masked_lm"
    }
    files: dict[str, str] = {}
    for name, task in predicted.items():
        file_name = submission_format(task).file_name
        if files.setdefault(file_name, name) != name:
            raise ValueError(
                f"the tasks {files[file_name]} and {name} are both predicted into {file_name}: rename one"
            )
    if driver.make_submission:
        check_test_sets(driver.make_submission, predicted, driver.data_dir)
    elif not predicted:
        logger.warning("%s has no test set to predict: --do_predict writes nothing", args.target_task)
    return predicted


def write_predictions(
    trainer: MultitaskTrainer, tasks: Iterable[Task], test_sets: dict[str, Any], directory: Path
) -> list[Path]:
    """Predicts the tokenised test sets and writes a file of each; returns the files that this process wrote."""
    files = []
    for task in tasks:
        predictions = trainer.predict(task.name).predictions
        if trainer.is_world_process_zero():
            files.append(write_submission(task, predictions, directory, test_sets[task.name]))
            print(f"wrote {files[-1]}")
    return files


def load_model(
    driver: DriverArguments, lora: LoraArguments, args: DriverTrainingArguments, tasks: dict[str, Task]
) -> Any:
    """A multitask model of a plain encoder, or one that this script has saved; a `PeftModel` where it has adapters."""
    path, revision = driver.model_name_or_path, driver.model_revision
    if holds_adapters(path):
        return load_adapted(path, tasks)
    if not (args.do_train or holds_heads(path, revision)):
        logger.warning("%s has no heads: they start at random, and nothing will train them", path)
    model = load_base(path, tasks, revision)
    return add_lora(model, lora) if lora.use_peft else model


def run(driver: DriverArguments, lora: LoraArguments, args: DriverTrainingArguments) -> int:
    """Loads, trains, evaluates, predicts, exports and pushes; returns the script's exit status."""
    if driver.target is None:
        raise ValueError("which task is to be trained? Pass --target, for example --target rte (or --demo)")
    if args.all_methods:
        raise ValueError(f"--method all is the demo's: add --demo, or pass one of {', '.join(METHODS)}")
    if driver.make_submission and driver.max_eval_samples is not None:
        raise ValueError("--make_submission predicts whole test sets: leave --max_eval_samples out")
    if not (args.do_train or args.do_eval or args.do_predict):
        args.do_train = args.do_eval = True
    # Pinned memory speeds up copies to an accelerator; without one it only warns.
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.accelerator.is_available()
    tasks = load_run_tasks(driver, args)
    target = args.target_task = next(iter(tasks))
    check_validation_set(args, tasks[target])
    if not args.do_train:
        tasks = {name: replace(task, train=None) for name, task in tasks.items()}
    predicted = predicted_tasks(driver, args, tasks)
    tokenizer = AutoTokenizer.from_pretrained(driver.model_name_or_path, revision=driver.model_revision)
    set_seed(args.seed)
    model = load_model(driver, lora, args, tasks)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        unwrap_peft(model).pad_token_id = tokenizer.pad_token_id
    # Test sets are read before training, so that a faulty row does not end the run after it.
    test_sets = tokenized_split(predicted, "test", tokenizer, args)
    trainer = MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=tokenizer)
    output_dir = Path(str(args.output_dir))

    if args.do_train:
        checkpoint = True if args.resume_from_checkpoint in ("true", "True") else args.resume_from_checkpoint
        metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
        if trainer.preempted:
            print("stopped by SIGTERM; `--resume_from_checkpoint auto` goes on from the checkpoint")
            return STOPPED_BY_SIGTERM
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()
    scores = {}
    if args.do_eval:
        scores = trainer.evaluate()
        trainer.log_metrics("eval", scores)
        trainer.save_metrics("eval", scores)
    files = write_predictions(trainer, predicted.values(), test_sets, output_dir / "predictions")
    trainer.export_task(target, output_dir / "export" / target)
    if args.do_train and trainer.is_world_process_zero():  # else the folder may hold the record of the run that did
        write_history(trainer.history, output_dir)
        if trainer.history:
            plot_task_weights(trainer.history, target, output_dir / "plots" / "task_weights.png")
        trainer.create_model_card()
    if (args.do_train or args.do_eval) and trainer.is_world_process_zero():
        metric = tasks[target].main_metric
        score = scores.get(f"eval_{target}_{metric}")
        print(format_summary_table(target, f"validation {metric}", score, trainer.history, args.method))
    if driver.make_submission and trainer.is_world_process_zero():
        archive = output_dir / f"{driver.make_submission}.zip"
        origins = make_submission(driver.make_submission, files, archive, driver.data_dir)
        print(describe_submission(origins, archive))
    if args.push_to_hub:
        trainer.push_to_hub()
    trainer.accelerator.end_training()
    return 0


def main() -> int:
    """Entry point; returns the exit status."""
    start_missing_processes()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    driver, lora, args = parse_arguments()
    if driver.demo:
        run_demo(args, list(METHODS) if args.all_methods else list(dict.fromkeys([*DEMO_METHODS, args.method])))
        status = 0
    else:
        status = run(driver, lora, args)
    end_process_group()
    return status


if __name__ == "__main__":
    sys.exit(main())
