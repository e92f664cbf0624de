"""What every command does first that trains by the script's flags."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from ..distributed.launch import start_missing_processes
from ..files.hub_cache import say_retries_once
from ..settings.command_line import parse_command_line
from ..settings.user_errors import UserErrorsInOneLine


def read_flags(
    errors: UserErrorsInOneLine,
    classes: Sequence[type],
    description: str | None,
    arguments: Sequence[str] | None,
    prog: str | None,
    common: Collection[str],
) -> tuple[Any, ...]:
    """
    Starts the missing processes of a launch, sets up logs, and parses the flags.

    Args:
        errors (`UserErrorsInOneLine`): The running block. `--traceback` is told to it.
        classes (`Sequence[type]`): Dataclasses whose fields are the flags. The first one has `traceback`.
        description, arguments, prog, common: As for [`parse_command_line`].

    Returns:
        `tuple`: One instance per class, and a `set[str]`: the fields that are given.
    """
    start_missing_processes()
    say_retries_once()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    parsed = parse_command_line(classes, description, arguments, prog, common)
    errors.traceback |= parsed[0].traceback
    return parsed
