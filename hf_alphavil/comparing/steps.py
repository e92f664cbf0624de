"""How many optimizer steps the runs of a comparison take that leave out tasks."""

from __future__ import annotations

from collections.abc import Mapping

from ..data import steps_per_task
from ..methods import METHODS, Method
from ..training_args import MultitaskTrainingArguments


def task_steps(args: MultitaskTrainingArguments, num_rows: Mapping[str, int]) -> dict[str, int]:
    """
    K_t, the steps in which every task sees its sampled rows once.

    Args:
        args (`MultitaskTrainingArguments`): The settings of the run.
        num_rows (`Mapping[str, int]`): Training rows by task.
    """
    batch = args.train_batch_size * args.gradient_accumulation_steps
    return steps_per_task(num_rows, batch, args.delta_fraction, args.max_phase_steps)


def steps_without(args: MultitaskTrainingArguments, num_rows: Mapping[str, int], auxiliary: str) -> int:
    """
    The steps of a run without an auxiliary: as many as with it, or the nearest number of whole plans if the method
    needs those. So no auxiliary seems to help by its steps alone.

    Args:
        args (`MultitaskTrainingArguments`): Settings. `num_train_epochs` are those with all tasks.
        num_rows (`Mapping[str, int]`): Training rows of all tasks.
        auxiliary (`str`): The auxiliary.
    """
    of_tasks = task_steps(args, num_rows)
    whole, rest = (
        METHODS[args.method](args, [task for task in num_rows if task != without]) for without in (None, auxiliary)
    )

    def epoch_of(method: Method) -> int:
        return method.plan(0, {task: of_tasks[task] for task in method.tasks}).nominal_steps

    steps, epoch = round(args.num_train_epochs) * epoch_of(whole), epoch_of(rest)
    return epoch * round(steps / epoch) if rest.separates_phases else steps
