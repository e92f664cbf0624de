"""The callbacks that connect a run to Trainer's loop."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from transformers import EarlyStoppingCallback, ProgressCallback, TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import IntervalStrategy

from .multitask_callback import announce
from .outcome import StepOutcome
from .progress import PlanProgress, PlanProgressCallback, alpha_progress
from .runner import PlanRunner

logger = logging.getLogger(__name__)


class InterruptedMergeError(Exception):
    """Ends an α step that SIGTERM has interrupted."""


class PlanCallback(TrainerCallback):
    """
    Passes the events of Trainer's loop to the runner, and does what the runner asks for: logs, updates the progress
    bar and sets Trainer's flags.

    It runs before all other callbacks, so that at a plan's last step the deltas are merged before anything is logged,
    evaluated or saved, and before a user's callback sees the parameters.

    Args:
        current_run (`Callable[[], PlanRunner]`): Returns the runner of the current `train()` call.
        log (`Callable[[dict[str, float]], None]`): `Trainer.log`.
        callbacks (`Sequence[TrainerCallback]`): All callbacks of the trainer; progress bars are among them.
        must_stop (`Callable[[], bool]`):
            Whether SIGTERM asks the run to stop. All processes call it after each α step. The merge is then put off
            until the run resumes.
    """

    def __init__(
        self,
        current_run: Callable[[], PlanRunner],
        log: Callable[[dict[str, float]], None],
        callbacks: Sequence[TrainerCallback],
        must_stop: Callable[[], bool],
    ) -> None:
        self.current_run = current_run
        self.log = log
        self.callbacks = callbacks
        self.must_stop = must_stop
        self._is_interrupted = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, lr_scheduler: Any = None, **kwargs: Any
    ) -> None:
        self._is_interrupted = False
        run = self.current_run()
        run.attach(optimizer, lr_scheduler)
        # Attributes that are not fields of TrainerState stay out of checkpoints, which Trainer can then load.
        state.task = state.phase = None
        state.alpha = run.state.last_alpha

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self.current_run()
        if run.state.round_is_done:  # only in a run that resumes from a checkpoint that was saved during an α step
            run.end_round(lambda step: self._show(alpha_progress(args, step)))
        self._show(run.begin_step())
        state.task = state.phase = None
        if run.is_idle:
            return
        phase, step_in_phase = run.state.position
        tasks = phase.step_tasks[step_in_phase]
        state.task, state.phase = tasks[0] if len(tasks) == 1 else None, phase.name
        if step_in_phase == 0:
            announce(self.callbacks, "on_phase_begin", args, state, control, phase=phase, **kwargs)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.current_run().before_optimizer_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.current_run().after_optimizer_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self.current_run()
        phase, step_in_phase = (None, 0) if run.is_idle else run.state.position
        outcome = run.end_step()
        if run.plan_is_done:  # a plan may be shorter than the longest one, in whose steps Trainer counts epochs
            state.epoch = run.state.epoch + 1.0
        self._act_on(outcome, args, control)
        if phase is not None and step_in_phase + 1 == phase.num_steps:
            end = {"losses": run.state.phase_losses[phase.name], "diverged": outcome.diverged}
            announce(self.callbacks, "on_phase_end", args, state, control, phase=phase, **end, **kwargs)
        if run.plan_is_done:
            self._merge_plan(run, args, state, control, **kwargs)
        elif run.state.round_is_done:
            self._merge(run.end_round, args, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # True only for a run that resumes from a checkpoint that was saved during an α step.
        run = self.current_run()
        if run.plan_is_done and not self._is_interrupted:
            self._merge_plan(run, args, state, control, **kwargs)

    def _merge_plan(self, run: PlanRunner, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        has_forks = bool(run.plan.forks)
        self._merge(run.end_plan, args, control)
        state.alpha = run.state.last_alpha
        if has_forks and not self._is_interrupted:
            entry = run.state.history[-1]
            merged = {"alpha": entry["alpha"], "task_weights": entry["task_weights"], "entry": entry}
            announce(self.callbacks, "on_merge", args, state, control, **merged, **kwargs)

    def _merge(self, merge: Callable[[Callable[[int], None]], StepOutcome], args: Any, control: Any) -> None:
        def progress(step: int) -> None:
            self._show(alpha_progress(args, step))
            if self.must_stop():
                raise InterruptedMergeError

        method = self.current_run().method
        method_before = copy.deepcopy(method.state_dict())
        try:
            outcome = merge(progress)
        except InterruptedMergeError:
            method.load_state_dict(method_before)
            self._is_interrupted = True
        else:
            self._act_on(outcome, args, control)

    def _act_on(self, outcome: StepOutcome, args: Any, control: Any) -> None:
        for logs in outcome.logs if args.logging_strategy != IntervalStrategy.NO else ():
            # Logging clears `should_log`, by which another callback may have asked for Trainer's own log.
            should_log = control.should_log
            self.log(logs)
            control.should_log = should_log
        for warning in outcome.warnings:
            logger.warning(warning)
        control.should_save = control.should_save or outcome.must_save

    def _show(self, text: str) -> None:
        for callback in self.callbacks:
            if isinstance(callback, PlanProgress):
                callback.show(text)


def progress_of_plans(callback: TrainerCallback) -> TrainerCallback:
    """
    The callback to use instead of one of Trainer's.

    Args:
        callback (`TrainerCallback`): A callback of Trainer's own, or a user's.

    Returns:
        `TrainerCallback`: A [`PlanProgress`] instead of Trainer's own progress bar, and any other callback unchanged.
    """
    if type(callback) is ProgressCallback:
        return PlanProgressCallback(callback.max_str_len)
    if type(callback).__name__ == "NotebookProgressCallback":
        from .notebook_progress import PlanNotebookCallback  # needs IPython, which only a notebook has

        return PlanNotebookCallback()
    return callback


def restore_callbacks(callbacks: Iterable[TrainerCallback], stored: Mapping[str, Any]) -> None:
    """
    Restores the counters of callbacks, such as early stopping's patience, from a checkpoint.

    Trainer restores them only with `restore_callback_states_from_checkpoint`, and then replaces the objects.

    Args:
        callbacks (`Iterable[TrainerCallback]`): The run's callbacks, changed in place. They keep their arguments.
        stored (`Mapping`): `stateful_callbacks` of the checkpoint's `TrainerState`.
    """
    taken: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, ExportableState) or name not in stored:
            continue
        # Trainer stores a list if there are several callbacks of the class, else a single entry.
        states = stored[name] if isinstance(stored[name], list) else [stored[name]]
        number = taken[name] = taken.get(name, -1) + 1
        if number < len(states):
            for attribute, value in states[number].get("attributes", {}).items():
                setattr(callback, attribute, value)


def has_stopped_early(callbacks: Iterable[TrainerCallback]) -> bool:
    """
    Whether early stopping has ended the run that wrote a checkpoint.

    Args:
        callbacks (`Iterable[TrainerCallback]`): The run's callbacks, with the counters of the checkpoint.
    """
    return any(
        isinstance(callback, EarlyStoppingCallback)
        and callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in callbacks
    )
