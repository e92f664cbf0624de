"""The progress table of notebooks, with the target's losses, the phase, α and the task weights."""

from __future__ import annotations

from typing import Any

from transformers.trainer_utils import IntervalStrategy
from transformers.utils.notebook import NotebookProgressCallback

from .progress import PlanProgress

_SPEEDS = ("_runtime", "_samples_per_second", "_steps_per_second", "_model_preparation_time")


class PlanNotebookCallback(PlanProgress, NotebookProgressCallback):
    """
    Trainer's bar and table for notebooks.

    The losses in the table are the target's. Columns beside them are the phase of the last step, the metrics of the
    evaluated tasks, and α and the weight of each task after the last merge.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self._loss: float | str = "No log"
        self._merged: dict[str, float] = {}

    def show(self, text: str) -> None:
        if (bar := self.training_tracker) is not None:
            bar.prefix = text
            if text.startswith("α") and bar.value is not None:
                bar.update(bar.value, force_update=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        logs = logs or {}
        loss = f"loss_{args.target_task}"
        self._loss = logs.get(loss, self._loss)
        merged = {
            f"{sign} {key.removeprefix(name)}": value
            for name, sign in (("alpha_", "α"), ("weight_", "w"))
            for key, value in logs.items()
            if key.startswith(name)
        }
        self._merged |= merged
        if args.eval_strategy == IntervalStrategy.NO and (loss in logs or merged):
            self._write(args, state, {})

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        if self.training_tracker is None:
            super().on_evaluate(args, state, control, metrics, **kwargs)
            return
        target = f"eval_{args.target_task}_"
        scores = {}
        for key, value in (metrics or {}).items():
            if key.startswith("eval_") and not key.endswith(_SPEEDS):
                name = key.removeprefix(target).removeprefix("eval_").replace("_", " ").capitalize()
                scores["Validation Loss" if key == f"{target}loss" else name] = value
        self._write(args, state, scores)
        self.training_tracker.remove_child()
        self.prediction_bar = None
        self._force_next_update = True

    def _write(self, args: Any, state: Any, scores: dict[str, float]) -> None:
        """Writes the row of this step or epoch, or completes it."""
        table: Any = self.training_tracker
        number = int(state.epoch) if self.first_column == "Epoch" else state.global_step
        values = {self.first_column: number, "Training Loss": self._loss}
        rows = table.inner_table
        if args.eval_strategy != IntervalStrategy.NO and not (len(rows) > 1 and rows[-1][0] == number):
            values["Validation Loss"] = "No log"
        table.write_line({**values, "Phase": state.phase, **self._merged, **scores})
        table.display()
