"""Settings of what is pushed to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class HubArguments:
    """What a push to the Hub holds. Trainer's own settings say whether, when and where it is pushed."""

    help_title: ClassVar[str] = "Hugging Face Hub"  # in `--help`

    hub_export: str | None = field(
        default=None,
        metadata={
            "help": "What the root of the repository on the Hub is: the `target` as an ordinary folder of its Auto "
            "class, for pipeline(), with the multitask model in `multitask/`, or the `multitask` model alone. "
            "Default: `target` for a MultitaskModel, else `multitask`.",
            "choices": ("target", "multitask"),
        },
    )

    model_card_template: str | None = field(
        default=None,
        metadata={
            "help": "File with a Jinja template for the model card. Default: "
            "`reporting/model_card_template.md` of this package, which shows the names that it can use."
        },
    )

    def check_hub(self) -> None:
        """
        Checks choices and files. The trainer checks that the model has a head to export.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, HubArguments)
        template = self.model_card_template
        require(self, "model_card_template", template is None or Path(template).is_file(), "a file that exists")
