"""What a command says once training starts: all that could be refused has been accepted by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback


class SayAtStart(TrainerCallback):
    """
    Prints lines when training starts.

    Args:
        lines (`Sequence[str]`): The lines.

    Attributes:
        first_step (`int`): The step from which training goes on, 0 without a checkpoint.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.first_step = state.global_step
        if state.is_world_process_zero:
            for line in self.lines:
                print(line, flush=True)
