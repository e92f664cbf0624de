"""Settings that choose the training method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass
class MethodArguments:
    """The training method and its options. `MultitaskTrainingArguments` checks both, because it knows the methods."""

    help_title: ClassVar[str] = "method"  # in `--help`

    method: str = field(
        default="alphavil",
        metadata={"help": "The training method, such as `alphavil` or `multitask` (docs/methods.md)."},
    )
    method_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The method's options as JSON, such as '{\"temperature\": 2.0}' (docs/methods.md)."},
    )
