"""Where the plan meets Trainer's loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

if TYPE_CHECKING:
    from ..trainer import MultitaskTrainer


class PlanCallback(TrainerCallback):
    """
    Tells the running plan where Trainer's loop is.

    It stands before all other callbacks: at a plan's last step the merge is done before anything is logged, evaluated
    or saved, and before a user's callback looks at the parameters.
    """

    def __init__(self, trainer: MultitaskTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.runner.attach()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.runner.begin_step()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.runner.before_optimizer_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.runner.end_step()


class PlanProgressCallback(ProgressCallback):
    """Trainer's progress bar, which also shows the running phase and α step."""

    def show(self, text: str) -> None:
        """
        Shows a short text behind the bar.

        Args:
            text (`str`): Such as `rte 3/16` or `α 4/10`.
        """
        if self.training_bar is not None:
            self.training_bar.set_postfix_str(text, refresh=text.startswith("α"))


def restore_callbacks(callbacks: Iterable[TrainerCallback], stored: Mapping[str, Any]) -> None:
    """
    Gives callbacks back what they had counted when a checkpoint was written, such as early stopping's patience.

    Trainer does so only with `restore_callback_states_from_checkpoint`, and then replaces the objects.

    Args:
        callbacks (`Iterable[TrainerCallback]`): The run's callbacks, changed in place; their settings stay.
        stored (`Mapping`): `stateful_callbacks` of the checkpoint's `TrainerState`.
    """
    taken: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, ExportableState) or name not in stored:
            continue
        # One entry per object, or the entry itself where there is one object of the class.
        states = stored[name] if isinstance(stored[name], list) else [stored[name]]
        number = taken[name] = taken.get(name, -1) + 1
        if number < len(states):
            for attribute, value in states[number].get("attributes", {}).items():
                setattr(callback, attribute, value)
