"""Which tasks a run trains and which test sets it predicts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..kinds import kind_of
from .submission import submission_format
from .submission_set import check_test_sets
from .task import Task

logger = logging.getLogger(__name__)

#: The tasks of the paper's NLU setups: each is a target with the other four as auxiliaries.
PAPER_TASKS = ("cb", "copa", "mrpc", "rte", "wnli")


def training_names(target: str, auxiliary: Iterable[str]) -> list[str]:
    """
    Expands the auxiliary tasks of a target.

    Args:
        target (`str`): The target task.
        auxiliary (`Iterable[str]`): Task names, `"paper"` for `PAPER_TASKS`, or only `"none"`.

    Returns:
        `list[str]`: The target, then the auxiliaries, each once.
    """
    words = list(auxiliary)
    if words == ["none"]:
        return [target]
    names = [name for word in words for name in (PAPER_TASKS if word == "paper" else (word,))]
    return list(dict.fromkeys([target, *names]))


def predicted_tasks(
    tasks: Mapping[str, Task], target: str, benchmark: str | None = None, data_dir: str | Path | None = None
) -> dict[str, Task]:
    """
    Chooses the tasks whose test sets a run predicts, and checks that each has its own file.

    Args:
        tasks (`Mapping[str, Task]`): All tasks of the run.
        target (`str`): Only this task and the tasks that use its head are predicted, unless `benchmark` is given.
        benchmark (`str`, *optional*): Benchmark for whose leaderboard all tasks are predicted.
        data_dir (`str` or `Path`, *optional*): Folder of the official files, for `benchmark`.

    Returns:
        `dict[str, Task]`: Tasks with a test set whose kind predicts something about a row.

    Raises:
        ValueError: If two tasks are predicted into one file.
        DataError: If a complete set for `benchmark` cannot be made.
    """
    predicted = {
        name: task
        for name, task in tasks.items()
        if benchmark or target in (name, task.head_task)  # MNLI has two test sets
        if task.test is not None and kind_of(task).has_predictions
    }
    owners: dict[str, str] = {}
    for name, task in predicted.items():
        file_name = submission_format(task).file_name
        if owners.setdefault(file_name, name) != name:
            raise ValueError(
                f"the tasks {owners[file_name]} and {name} are both predicted into {file_name}: rename one"
            )
    if benchmark:
        check_test_sets(benchmark, predicted, data_dir)
    elif not predicted:
        logger.warning("%s has no test set to predict: --do_predict writes nothing", target)
    return predicted
