"""Trains a GLUE or SuperGLUE target with auxiliary tasks by αVIL (arXiv 2405.07769).

accelerate launch run_glue_avil.py --target rte --output_dir out/rte
"""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, HfArgumentParser, set_seed

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments, Task, load_tasks
from hf_alphavil.demo_run import DEMO_METHODS, run_demo
from hf_alphavil.launch import end_process_group, start_missing_processes
from hf_alphavil.lora import LoraArguments, add_lora, holds_adapters, load_adapted, load_base
from hf_alphavil.methods import METHODS
from hf_alphavil.modeling import without_adapters
from hf_alphavil.reporting import format_summary_table, plot_task_weights, write_history
from hf_alphavil.tasks import write_submission

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


def parse_arguments() -> tuple[DriverArguments, LoraArguments, DriverTrainingArguments]:
    """Reads the command line, or the YAML or JSON file that is its only word."""
    parser = HfArgumentParser((DriverArguments, LoraArguments, DriverTrainingArguments))  # type: ignore[arg-type]
    if len(sys.argv) == 2 and sys.argv[1].endswith((".yaml", ".yml", ".json")):
        read = parser.parse_json_file if sys.argv[1].endswith(".json") else parser.parse_yaml_file
        driver, lora, args = read(sys.argv[1])
    else:
        driver, lora, args = parser.parse_args_into_dataclasses()
    return driver, lora, args


def task_names(target: str, auxiliary: list[str]) -> list[str]:
    """The target and its auxiliaries, the target first."""
    if auxiliary == ["none"]:
        return [target]
    names = [name for word in auxiliary for name in (PAPER_TASKS if word == "paper" else (word,))]
    return list(dict.fromkeys([target, *names]))


def load_model(driver: DriverArguments, lora: LoraArguments, tasks: dict[str, Task]) -> Any:
    """A multitask model of a plain encoder, or one that this script has saved; a `PeftModel` where it has adapters."""
    path, revision = driver.model_name_or_path, driver.model_revision
    if holds_adapters(path):
        return load_adapted(path, tasks)
    model = load_base(path, tasks, revision)
    return add_lora(model, lora) if lora.use_peft else model


def run(driver: DriverArguments, lora: LoraArguments, args: DriverTrainingArguments) -> int:
    """Loads, trains, evaluates, predicts, exports and pushes; returns the script's exit status."""
    if driver.target is None:
        raise ValueError("which task is to be trained? Pass --target, for example --target rte (or --demo)")
    if args.all_methods:
        raise ValueError(f"--method all is the demo's: add --demo, or pass one of {', '.join(METHODS)}")
    if not (args.do_train or args.do_eval or args.do_predict):
        args.do_train = args.do_eval = True
    # Pinned memory speeds up copies to an accelerator; without one it only warns.
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.accelerator.is_available()
    trains = METHODS[args.method].trains
    names = [name for name in task_names(driver.target, driver.auxiliary) if trains(name, driver.target)]
    loaded = load_tasks(names, data_dir=driver.data_dir, revision=driver.data_revision)
    tasks = {
        name: task.select(driver.max_train_samples, driver.max_eval_samples, seed=args.resolved_data_seed)
        for name, task in loaded.items()
    }
    target = args.target_task = next(iter(tasks))
    tokenizer = AutoTokenizer.from_pretrained(driver.model_name_or_path, revision=driver.model_revision)
    set_seed(args.seed)
    model = load_model(driver, lora, tasks)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        without_adapters(model).pad_token_id = tokenizer.pad_token_id
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
    if args.do_predict:
        predictions = trainer.predict(target).predictions
        if trainer.is_world_process_zero():
            print(f"wrote {write_submission(tasks[target], predictions, output_dir / 'predictions')}")
    trainer.export_task(target, output_dir / "export" / target)
    if trainer.is_world_process_zero():
        write_history(trainer.history, output_dir)
        if trainer.history:
            plot_task_weights(trainer.history, target, output_dir / "plots" / "task_weights.png")
        trainer.create_model_card()
        metric = tasks[target].main_metric
        score = scores.get(f"eval_{target}_{metric}")
        print(format_summary_table(target, f"validation {metric}", score, trainer.history, args.method))
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
