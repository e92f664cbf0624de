"""Settings of the tasks: the target, the length of inputs, the scale of regressions, and what is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class TaskArguments:
    """The target, the length of the inputs, the scale of regressions, and what is evaluated."""

    help_title: ClassVar[str] = "task"  # in `--help`

    target_task: str = field(
        default="", metadata={"help": "The task that the auxiliary tasks should help. Required with several tasks."}
    )
    max_length: int | None = field(
        default=128,
        metadata={
            "help": "Maximum number of tokens per sequence; longer sequences are truncated. It has no effect on "
            "datasets that you tokenized yourself; if all are such, a warning says so.",
            "aliases": ["--max_seq_length"],
        },
    )
    regression_scale: str = field(
        default="standardize",
        metadata={
            "help": "The scale on which regressions are trained: `standardize`, labels of mean 0 and variance 1, or "
            "`none`, that of their labels, as Trainer does. Predictions and scores always have the labels' scale.",
            "choices": ("standardize", "none"),
        },
    )
    eval_auxiliaries: bool = field(
        default=False, metadata={"help": "Whether `evaluate()` also scores the auxiliary tasks."}
    )

    def check_tasks(self) -> None:
        """
        Checks choices and ranges. The trainer checks `target_task`, because it knows the datasets.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, TaskArguments)
        require(self, "max_length", self.max_length is None or self.max_length > 0, "a positive number of tokens")
