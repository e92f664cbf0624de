"""Settings of task sampling in joint phases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class SamplingArguments:
    """How joint phases draw the task of each step."""

    help_title: ClassVar[str] = "task sampling"  # in `--help`

    task_sampling: str = field(
        default="proportional",
        metadata={
            "help": "How joint phases mix tasks: `proportional` to rows, `uniform`, by `temperature`, or by task "
            "`weights` (which then do not scale the steps as well).",
            "choices": ("proportional", "uniform", "temperature", "weights"),
        },
    )
    sampling_temperature: float = field(
        default=2.0, metadata={"help": "Temperature of `task_sampling=temperature`: 1 is proportional, ∞ uniform."}
    )

    def check_sampling(self) -> None:
        """
        Checks choices and ranges.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, SamplingArguments)
        require(self, "sampling_temperature", self.sampling_temperature > 0, "a positive temperature")
