"""Settings that choose the training method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .checks import require_choices
from .presets import PRESETS


@dataclass
class MethodArguments:
    """The training method and its options. `MultitaskTrainingArguments` checks both, because it knows the methods."""

    help_title: ClassVar[str] = "method"  # in `--help`

    method: str = field(
        default="alphavil",
        metadata={"help": "The training method, such as `alphavil` or `multitask` (docs/methods.md)."},
    )
    alphavil_preset: str = field(
        default="joint",
        metadata={
            "help": "αVIL's settings where you give none: `paper`, its paper's algorithm, or `joint`: joint steps "
            "on all tasks before an epoch's forks, and the target alone in the last epochs.",
            "choices": tuple(PRESETS),
        },
    )
    method_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The method's options as JSON, such as '{\"temperature\": 2.0}' (docs/methods.md)."},
    )

    def check_method(self) -> None:
        """
        Checks the choice of a preset.

        Raises:
            ValueError: If there is no such preset.
        """
        require_choices(self, MethodArguments)
