"""Settings of sampling: which task a step of a joint phase trains, and which rows share a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class SamplingArguments:
    """How joint phases draw the task of each step, and how rows are put into batches."""

    help_title: ClassVar[str] = "sampling of tasks and rows"  # in `--help`

    task_sampling: str = field(
        default="proportional",
        metadata={
            "help": "How joint phases mix tasks: `proportional` to rows, `uniform`, by `temperature`, or by task "
            "`weights` (which then do not scale the steps as well).",
            "choices": ("proportional", "uniform", "temperature", "weights"),
        },
    )
    sampling_temperature: float = field(
        default=2.0,
        metadata={
            "help": "Temperature of `task_sampling=temperature` and `phase_lengths=temperature`: 1 is proportional, "
            "∞ uniform."
        },
    )
    length_grouping: str = field(
        default="auto",
        metadata={
            "help": "Whether rows of similar length share a batch, in training, α steps, evaluation and prediction, "
            "so that little is padded. `auto`: for every `datasets.Dataset` or list with `input_ids` or a column "
            "`length_column_name`; `on`: for other datasets too, of which each row is read once before training; "
            "`off`: batches are drawn at random, and evaluated in order. `train_sampling_strategy=group_by_length` "
            "means `on`.",
            "choices": ("auto", "on", "off"),
        },
    )

    def check_sampling(self) -> None:
        """
        Checks choices and ranges.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, SamplingArguments)
        require(self, "sampling_temperature", self.sampling_temperature > 0, "a positive temperature")
