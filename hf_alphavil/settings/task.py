"""Settings of the tasks: the target, the length of inputs, and what is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require


@dataclass
class TaskArguments:
    """The target, the length of the inputs, and whether the auxiliaries are evaluated too."""

    help_title: ClassVar[str] = "task"  # in `--help`

    target_task: str = field(
        default="", metadata={"help": "The task that the auxiliary tasks should help. Required with several tasks."}
    )
    max_length: int | None = field(
        default=128,
        metadata={
            "help": "Maximum number of tokens per sequence; longer sequences are truncated. It has no effect on "
            "datasets that you tokenized yourself.",
            "aliases": ["--max_seq_length"],
        },
    )
    eval_auxiliaries: bool = field(
        default=False, metadata={"help": "Whether `evaluate()` also scores the auxiliary tasks."}
    )

    def check_tasks(self) -> None:
        """
        Checks the range of `max_length`. The trainer checks `target_task`, because it knows the datasets.

        Raises:
            ValueError: If `max_length` is not positive.
        """
        require(self, "max_length", self.max_length is None or self.max_length > 0, "a positive number of tokens")
