"""The arguments of `alphavil train`. They have a home in the package so that `training_args.bin` loads anywhere."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

from .methods import METHODS
from .modeling.lora_arguments import LoraArguments
from .recipes import AUTO, NO_RECIPE
from .settings.changed import changed_fields
from .tasks import BENCHMARKS
from .training_args import MultitaskTrainingArguments

logger = logging.getLogger(__name__)

#: The flags that `alphavil train --help` shows; `--help_all` shows all.
COMMON_FLAGS = (
    "target", "task_config", "include_path", "data_dir", "model_name_or_path", "recipe", "max_train_samples",
    "max_eval_samples", "traceback", "auxiliary", "make_submission", "report_examples", "demo", "max_length",
    "method", "alphavil_preset", "method_kwargs", "use_peft", "output_dir", "per_device_train_batch_size",
    "num_train_epochs", "learning_rate", "bf16", "report_to", "eval_strategy", "save_strategy", "push_to_hub",
    "hub_model_id", "seed", "use_cpu", "do_train", "do_eval", "do_predict", "resume_from_checkpoint",
    "overwrite_output_dir", "early_stopping_patience",
)  # fmt: skip

#: What the script can do.
DEEDS = ("do_train", "do_eval", "do_predict")


@dataclass
class DataArguments:
    """Which target, on which data, from which encoder."""

    help_title: ClassVar[str] = "target, data and encoder"  # in `--help`

    target: str | None = field(default=None, metadata={"help": "The target task, such as rte (required)."})
    task_config: str | None = field(
        default=None, metadata={"help": "YAML file that defines your own tasks (docs/tasks.md)."}
    )
    include_path: str | None = field(
        default=None, metadata={"help": "Folder of YAML files that define your own tasks."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder with the official GLUE/SuperGLUE files. Default: read from the Hub."}
    )
    data_revision: str | None = field(
        default=None, metadata={"help": "Revision (branch, tag or commit) of the Hub datasets."}
    )
    model_name_or_path: str = field(
        default="roberta-base", metadata={"help": "Encoder by Hub id or folder, or a folder saved by this script."}
    )
    model_revision: str | None = field(
        default=None, metadata={"help": "Revision (branch, tag or commit) of the encoder on the Hub."}
    )
    recipe: str = field(
        default=AUTO,
        metadata={
            "help": "Training settings for target and encoder, which flags override: `auto` (those of this package, "
            "if it has any), `none`, or a YAML file (docs/settings.md)."
        },
    )
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Maximum number of rows of each task's training set."}
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Maximum number of rows of each task's validation set."}
    )
    traceback: bool = field(
        default=False, metadata={"help": "Whether an error shows its traceback, instead of one line."}
    )

    def __post_init__(self) -> None:
        for entry in fields(self):  # such as `--data_dir "$DATA"` of a variable that is not set
            if getattr(self, entry.name) == "":
                raise ValueError(f"--{entry.name} is empty: pass a value, or leave the flag out")


@dataclass
class DriverArguments(DataArguments):
    """What to train besides the target, and what to predict and report."""

    help_title: ClassVar[str] = "auxiliary tasks, predictions and report"

    auxiliary: list[str] | None = field(
        default=None,
        metadata={
            "help": "Auxiliary tasks: names, `paper` (the paper's setup for the target), `all` (every task in "
            "--data_dir and of your own YAML files that can be trained) or `none`. Default: `paper` for a target of "
            "GLUE or SuperGLUE; required for your own."
        },
    )
    diagnostics: list[str] = field(
        default_factory=list,
        metadata={"help": "Sets that the head of another task evaluates and predicts: ax (mnli), axb and axg (rte)."},
    )
    max_predict_samples: int | None = field(
        default=None,
        metadata={"help": "Maximum number of rows of each task's test set; prediction files lack others."},
    )
    make_submission: str | None = field(
        default=None,
        metadata={
            "help": "Predict the test sets of all tasks and zip the complete set of files for this leaderboard, with "
            "placeholders for tasks that were not trained.",
            "choices": BENCHMARKS,
        },
    )
    report_examples: int = field(
        default=3,
        metadata={
            "help": "How many of each task's first training rows report.html shows; 0 for private data. A run with "
            "--push_to_hub shows none."
        },
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Whether to train anew in an --output_dir that holds a run. Its checkpoints are removed first."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "End after so many evaluations without a better metric; needs --load_best_model_at_end."},
    )
    early_stopping_threshold: float = field(
        default=0.0, metadata={"help": "By how much the metric must improve for --early_stopping_patience."}
    )
    demo: bool = field(
        default=False, metadata={"help": "Run the built-in demo suite: no network, about a minute on two cores."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.report_examples < 0:
            raise ValueError(f"--report_examples {self.report_examples}: pass 0 or more")
        if self.early_stopping_patience is not None and self.early_stopping_patience < 1:
            raise ValueError(f"--early_stopping_patience {self.early_stopping_patience}: pass 1 or more")
        if not 0 <= self.early_stopping_threshold < math.inf:  # also if it is NaN
            raise ValueError(f"--early_stopping_threshold {self.early_stopping_threshold}: pass a number, 0 or more")


@dataclass
class DriverTrainingArguments(MultitaskTrainingArguments):
    """The trainer's arguments, for a script that a scheduler may stop."""

    enable_jit_checkpoint: bool = field(
        default=True, metadata={"help": "Whether SIGTERM writes a checkpoint and ends the script."}
    )

    def __post_init__(self) -> None:
        # Before TrainingArguments derives `do_eval` from `eval_strategy`.
        self._told = {name: getattr(self, name) for name in DEEDS}
        self.all_methods = self.method == "all"
        if self.all_methods:  # for the demo, which compares the methods
            self.method = "alphavil"
        for name in ("output_dir", "resume_from_checkpoint"):
            if getattr(self, name) == "":
                raise ValueError(f"--{name} is empty: pass a path, or leave the flag out")
        super().__post_init__()

    def decide(self, given: Collection[str], predicts: bool) -> None:
        """
        Sets what the script does. If no flag says what, it trains and evaluates, unless a flag says not to.

        Args:
            given (`Collection[str]`): The fields that the user has given.
            predicts (`bool`): Whether the script predicts without `do_predict` too.

        Raises:
            ValueError: If nothing is left to do.
        """
        told = {name: value for name, value in self._told.items() if name in given}
        by_default = not any(told.values())
        self.do_train = told.get("do_train", by_default)
        self.do_eval = told.get("do_eval", by_default or self.do_eval)
        if not (self.do_train or self.do_eval or self.do_predict or predicts):
            raise ValueError(
                "--do_train false --do_eval false leave nothing to do: leave one of them out, or add --do_predict"
            )


def check_together(driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments) -> None:
    """
    Refuses flags that have no effect beside others, which a run would silently ignore.

    Args:
        driver (`DriverArguments`): What to train, on which data.
        args (`DriverTrainingArguments`): The training arguments, after the script has chosen what to do.
        lora (`LoraArguments`): The settings of adapters.

    Raises:
        ValueError: If a flag has no effect. The message names it, and the flag that it needs or contradicts.
    """
    ours = changed_fields(driver) | changed_fields(lora)
    if driver.demo:
        ignored = [f"--{name}" for name in ours if name not in ("demo", "traceback")]
        if ignored:
            raise ValueError(f"--demo has its own tasks and encoder: leave {', '.join(ignored)} out, or --demo")
        return
    if driver.target is None:
        raise ValueError("which task should be trained? Pass --target, for example --target rte (or --demo)")
    if args.target_task and args.target_task.casefold() != driver.target.casefold():
        raise ValueError(f"--target_task {args.target_task} contradicts --target {driver.target}: leave it out")
    if args.all_methods:
        raise ValueError(f"--method all is only for --demo: add --demo, or pass one of {', '.join(METHODS)}")
    if driver.early_stopping_threshold and driver.early_stopping_patience is None:
        raise ValueError("--early_stopping_threshold without --early_stopping_patience: add it, or leave both out")
    if driver.make_submission and driver.max_predict_samples is not None:
        raise ValueError("--make_submission predicts whole test sets: leave --max_predict_samples out")
    if not lora.use_peft and (ignored := [f"--{name}" for name in changed_fields(lora)]):
        raise ValueError(f"{', '.join(ignored)} without --use_peft would train no adapters: add it, or leave them out")
    if driver.model_revision is not None and Path(driver.model_name_or_path).is_dir():
        raise ValueError(f"--model_revision is for the Hub, and {driver.model_name_or_path} is a folder: leave it out")
    if driver.recipe not in (AUTO, NO_RECIPE) and not args.do_train:
        raise ValueError(f"--recipe {driver.recipe} says how to train: add --do_train, or leave it out")
    if driver.overwrite_output_dir and args.resume_from_checkpoint is not None:
        raise ValueError("--overwrite_output_dir contradicts --resume_from_checkpoint: leave one of them out")
    if not args.do_train and args.resume_from_checkpoint is not None:
        raise ValueError(
            "--resume_from_checkpoint continues a training: add --do_train, or pass a trained model as "
            "--model_name_or_path"
        )


def check_early_stopping(driver: DriverArguments, args: DriverTrainingArguments) -> None:
    """
    Refuses early stopping without the best model that its callback compares evaluations with.

    Args:
        driver (`DriverArguments`): Whether training may end early.
        args (`DriverTrainingArguments`): The training arguments, after a recipe has set its own.

    Raises:
        ValueError: If the run trains and would not look for a best model.
    """
    has_best_model = args.load_best_model_at_end and args.eval_strategy != "no"  # the target's main metric by default
    if driver.early_stopping_patience is None or has_best_model or not args.do_train:
        return
    raise ValueError(
        f"--early_stopping_patience {driver.early_stopping_patience} compares evaluations with the best one: add "
        "--load_best_model_at_end --eval_strategy epoch --save_strategy epoch (--metric_for_best_model names another "
        "metric than the target's main one)"
    )


def warn_of_unread_flags(driver: DriverArguments, args: DriverTrainingArguments) -> None:
    """
    Warns of flags that this run of the script does not read. [`check_together`] refuses those that no run would.

    Args:
        driver (`DriverArguments`): What to train, on which data.
        args (`DriverTrainingArguments`): The training arguments, after the script has chosen what to do.
    """
    method, is_own = METHODS[args.method], driver.task_config is not None or driver.include_path is not None
    evaluates = args.do_eval or (args.do_train and args.eval_on_start)
    predicts = args.do_predict or driver.make_submission is not None
    fits_on = args.alpha_data if args.do_train and method.needs_meta_set else None
    reads_none = driver.auxiliary not in (None, ["none"]) and not method.trains_on("an auxiliary", "the target")
    no_examples = ("A run without --do_train", not args.do_train)
    if args.do_train and args.push_to_hub:
        no_examples = ("A run with --push_to_hub shows no rows of tasks and", driver.report_examples != 0)
    unread = {
        "max_train_samples": ("A run without --do_train", not args.do_train),
        "max_eval_samples": ("A run without --do_eval", not evaluates and fits_on != "validation"),
        "max_predict_samples": ("A run without --do_predict", not predicts and fits_on != "test"),
        "diagnostics": ("A run without --do_eval and --do_predict", not evaluates and not predicts),
        "auxiliary": (f"--method {args.method}", reads_none),
        "overwrite_output_dir": ("A run without --do_train", not args.do_train),
        "early_stopping_patience": ("A run without --do_train", not args.do_train),
        "report_examples": no_examples,
        "data_revision": ("A run on the files of --data_dir", driver.data_dir is not None and not is_own),
    }
    for name in changed_fields(driver):
        what, is_unread = unread.get(name, ("", False))
        if is_unread:
            logger.warning("%s does not read --%s, which has no effect.", what, name)


def warn_of_unread_hub_flags(args: DriverTrainingArguments) -> None:
    """
    Warns of flags of pushes and cards in a run of the script that makes none.

    Args:
        args (`DriverTrainingArguments`): The training arguments, after the script has chosen what to do.
    """
    if args.push_to_hub:
        return
    unread = [name for name in (*args.given, *(["hub_token"] if args.hub_token else [])) if name.startswith("hub_")]
    if "model_card_template" in args.given and not args.do_train:
        unread.append("model_card_template")
    if unread:
        logger.warning("A run without --push_to_hub does not read --%s, which has no effect.", ", --".join(unread))
