"""How many optimizer steps a run takes that leaves an auxiliary out."""

from __future__ import annotations

from collections.abc import Mapping

from ..data import steps_per_task
from ..methods import METHODS
from ..training_args import MultitaskTrainingArguments


def steps_without(args: MultitaskTrainingArguments, num_rows: Mapping[str, int], auxiliary: str) -> int:
    """
    The steps of a run without an auxiliary: as many as with it, or the nearest number of whole plans if the method
    needs those. So no auxiliary seems to help by its steps alone.

    Args:
        args (`MultitaskTrainingArguments`): Settings. `num_train_epochs` are those with all tasks.
        num_rows (`Mapping[str, int]`): Training rows of all tasks.
        auxiliary (`str`): The auxiliary.
    """
    batch = args.train_batch_size * args.gradient_accumulation_steps
    of_tasks = steps_per_task(num_rows, batch, args.delta_fraction, args.max_phase_steps)

    def epoch_of(tasks: list[str]) -> int:
        plan = METHODS[args.method](args, tasks).plan(0, {task: of_tasks[task] for task in tasks})
        return plan.nominal_steps

    others = [task for task in num_rows if task != auxiliary]
    steps, epoch = round(args.num_train_epochs) * epoch_of(list(num_rows)), epoch_of(others)
    return epoch * round(steps / epoch) if METHODS[args.method](args, others).separates_phases else steps
