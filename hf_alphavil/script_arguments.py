"""The arguments of `run_glue_avil.py`. They have a home in the package so that `training_args.bin` loads anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .tasks import BENCHMARKS
from .training_args import MultitaskTrainingArguments


@dataclass
class DriverArguments:
    """What to train, on which data, from which encoder."""

    help_title: ClassVar[str] = "tasks, data and encoder"  # in `--help`

    target: str | None = field(
        default=None, metadata={"help": "The target task, such as rte. Required without --demo."}
    )
    auxiliary: list[str] = field(
        default_factory=lambda: ["paper"],
        metadata={"help": "Auxiliary tasks: names, `paper` (the paper's setup for the target) or `none`."},
    )
    diagnostics: list[str] = field(
        default_factory=list,
        metadata={"help": "Sets that the head of another task evaluates and predicts: ax (mnli), axb and axg (rte)."},
    )
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
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Maximum number of rows of each task's training set."}
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Maximum number of rows of each task's validation set."}
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
    demo: bool = field(
        default=False, metadata={"help": "Run the built-in demo suite: no network, about a minute on two cores."}
    )
    traceback: bool = field(
        default=False, metadata={"help": "Whether an error shows its traceback, instead of one line."}
    )


@dataclass
class DriverTrainingArguments(MultitaskTrainingArguments):
    """The trainer's arguments, for a script that a scheduler may stop."""

    enable_jit_checkpoint: bool = field(
        default=True, metadata={"help": "Whether SIGTERM writes a checkpoint and ends the script."}
    )

    def __post_init__(self) -> None:
        # Before TrainingArguments derives `do_eval` from `eval_strategy`.
        self.is_told_what_to_do = self.do_train or self.do_eval or self.do_predict
        self.all_methods = self.method == "all"
        if self.all_methods:  # for the demo, which compares the methods
            self.method = "alphavil"
        super().__post_init__()
