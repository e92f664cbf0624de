"""Callbacks that also hear of phases and merges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from ..data import Phase


class MultitaskCallback(TrainerCallback):
    """
    A `transformers.TrainerCallback` with three more events, in multitask mode.

    Every event gets what Trainer's events get: `args`, `state`, `control`, which may be changed in place, and by
    keyword `model`, `processing_class`, `optimizer`, `lr_scheduler`, `train_dataloader` and `eval_dataloader`. In all
    events from `on_train_begin` on, of any callback, `state` has three more attributes, which checkpoints leave out:

    - `state.task` (`str`, *optional*): the task of the last step that began; `None` if its batch has several tasks.
    - `state.phase` (`str`, *optional*): the name of that step's phase, often that of its task.
    - `state.alpha` (`dict[str, float]`, *optional*): α by task of the last merge; `None` before it, or without α.

    A resumed run calls the events of all that it does itself. A phase in which the checkpoint was saved has begun in
    the run that saved it, so that only its end is called; a merge is called by the run that merges. With
    `phase_parallel`, a process calls the events of the phases that it runs; while it waits for others, `task` and
    `phase` are `None`.
    """

    def on_phase_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, phase: Phase, **kwargs: Any
    ) -> None:
        """
        Called before a phase's first step: the model has the parameters that the phase starts from.

        Args:
            phase (`Phase`): The phase: its `name`, `num_steps`, `step_tasks` and whether it is a `fork`.
        """

    def on_phase_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        phase: Phase,
        losses: Mapping[str, float],
        diverged: bool,
        **kwargs: Any,
    ) -> None:
        """
        Called after a phase's last step.

        Args:
            phase (`Phase`): The phase.
            losses (`Mapping[str, float]`): The phase's mean loss by task.
            diverged (`bool`): Whether its loss or a parameter became NaN or infinite, so that it was undone.
        """

    def on_merge(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        alpha: Mapping[str, float],
        task_weights: Mapping[str, float],
        entry: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        """
        Called when an epoch's deltas have been merged: the model has the merged parameters. Methods and epochs without
        forks do not call it, nor do the rounds inside an epoch (`rounds_per_epoch`).

        Args:
            alpha (`Mapping[str, float]`):
                α by task, without tasks whose fork was undone; empty for methods without α.
            task_weights (`Mapping[str, float]`): The task weights of the next epoch.
            entry (`Mapping[str, Any]`): The epoch's entry in `trainer.history`.
        """


def announce(
    callbacks: Iterable[TrainerCallback], event: str, args: Any, state: Any, control: Any, **kwargs: Any
) -> None:
    """
    Calls an event of every [`MultitaskCallback`].

    Args:
        callbacks (`Iterable[TrainerCallback]`): The trainer's callbacks.
        event (`str`): The name of the method.
        args, state, control: Trainer's.
        kwargs: The event's other arguments.
    """
    for callback in callbacks:
        if isinstance(callback, MultitaskCallback):
            getattr(callback, event)(args, state, control, **kwargs)
