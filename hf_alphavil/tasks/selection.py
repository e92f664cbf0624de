"""Which tasks a run trains and which test sets it predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..kinds import kind_of
from .definition import TaskDefinition
from .registry import get_definition
from .submission import submission_format
from .submission_set import check_test_sets
from .task import Task

#: What `--auxiliary` takes beside the names of tasks.
AUXILIARY_WORDS = ("paper", "all", "none")
#: The tasks of the paper's NLU setups: each is a target with the other four as auxiliaries.
PAPER_TASKS = ("cb", "copa", "mrpc", "rte", "wnli")


def training_names(target: str, auxiliary: Iterable[str]) -> list[str]:
    """
    Expands the auxiliary tasks of a target.

    Args:
        target (`str`): The target task.
        auxiliary (`Iterable[str]`):
            Task names, `"paper"` for `PAPER_TASKS`, `"all"` (nothing here: see [`wants_all_tasks`]), or only
            `"none"`. The three words may be in upper case.

    Returns:
        `list[str]`: The target, then the auxiliaries, each once.

    Raises:
        ValueError: If there are other words beside `"none"`.
    """
    words = [word.lower() if word.lower() in AUXILIARY_WORDS else word for word in auxiliary]
    if words == ["none"]:
        return [target]
    if "none" in words:
        raise ValueError(f"--auxiliary {' '.join(words)}: pass `none` alone, or leave it out")
    expanded = {"paper": PAPER_TASKS, "all": ()}
    names = [name for word in words for name in expanded.get(word, (word,))]
    return list(dict.fromkeys([target, *names]))


def default_auxiliaries(target: str, own: Mapping[str, TaskDefinition], trains: bool) -> list[str]:
    """
    What `auxiliary` is where the user does not say it: the paper's setup, which only fits tasks of the benchmarks.

    Args:
        target (`str`): The target task.
        own (`Mapping[str, TaskDefinition]`): The user's tasks by name.
        trains (`bool`): Whether the run trains on auxiliaries.

    Raises:
        ValueError: If the run trains on auxiliaries and the target is a task of the user's.
    """
    if target not in own:
        return ["paper"]
    if trains:
        raise ValueError(
            f"which tasks should help {target}, a task of your own? Pass --auxiliary NAME ..., --auxiliary all (every "
            "task in --data_dir and of your YAML files), or --method single to train it alone"
        )
    return ["none"]


def wants_all_tasks(auxiliary: Iterable[str]) -> bool:
    """`bool`: Whether all tasks that can be found ([`find_auxiliaries`]) are wanted besides those that are named."""
    return any(word.lower() == "all" for word in auxiliary)


def check_roles(trained: Iterable[str], scored: Iterable[str], own: Mapping[str, TaskDefinition]) -> None:
    """
    Checks that the tasks of a run can be what they are passed as.

    Args:
        trained (`Iterable[str]`): The target and the auxiliaries.
        scored (`Iterable[str]`): The sets that heads of other tasks are evaluated on.
        own (`Mapping[str, TaskDefinition]`): The user's tasks by name.

    Raises:
        ValueError: If a task has no head to train, or a set that should only be scored has one, or is unknown.
        DataError: If a task of the user's has a name that means something else as an auxiliary.
    """
    for word in AUXILIARY_WORDS:
        if word in own:
            raise own[word].source.fault(
                f"the task name {word!r} has a meaning for --auxiliary; rename the task.", word
            )
    for name in trained:
        if heads := get_definition(name, own).head_tasks:
            raise ValueError(
                f"{name} is never trained, only evaluated with the head of {' or '.join(heads)}: train that task, and "
                f"pass --diagnostics {name}"
            )
    for name in scored:
        if not get_definition(name, own).head_tasks:
            raise ValueError(
                f"--diagnostics {name}: this task has a head of its own. Pass it as --auxiliary to train it, or pass "
                "sets that are only evaluated, such as ax, axb or axg"
            )


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
        ValueError: If two tasks are predicted into one file, or if there is nothing to predict.
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
        raise ValueError(
            f"--do_predict: the target {target} has no test set to predict. Add one (`test` below `files.splits`), or "
            "leave the flag out"
        )
    return predicted
