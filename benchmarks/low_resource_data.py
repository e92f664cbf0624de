"""Low-resource problems from a workload: few rows of a target, auxiliaries of known use, and a large test set."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from workload import Rows, Workload

#: The tasks from which problems are made.
TASKS = ("rte", "mrpc", "wnli", "cb", "copa", "stsb", "cola")
#: The targets of αVIL's paper. The others are each one's auxiliaries.
PAPER_TASKS = ("rte", "mrpc", "wnli", "cb", "copa")
#: The auxiliaries of the suites in which it is known which of them help.
AUXILIARIES = {"mixed": ("more", "unrelated", "shuffled"), "hostile": ("unrelated", "shuffled", "shuffled_too")}
#: The greatest label of a regression task, by which its labels are divided.
SCALES = {"stsb": 5.0}


@dataclass(frozen=True)
class Problem:
    """
    A target with its auxiliaries.

    Args:
        heads (`dict[str, dict]`): Head description by task, the target first.
        train (`dict[str, list[dict]]`): Training rows by task.
        test (`list[dict]`): The target's test rows. No task trains on them.
    """

    heads: dict[str, dict[str, Any]]
    train: dict[str, Rows]
    test: Rows


def make_problem(
    workload: Workload, target: str, suite: str, rows: int, seed: int, auxiliary_rows: int, test_rows: int
) -> Problem:
    """
    Draws a problem.

    The seed changes the test rows, the training rows, the auxiliaries' rows and their permuted labels. With equal
    seeds, all suites have the same rows of the target, and more training rows of it include fewer ones.

    Args:
        workload (`Workload`): Has all of `TASKS`.
        target (`str`): The target.
        suite (`str`):
            `natural`: the other tasks of αVIL's paper. `mixed`: other rows of the target's own task as `more`, which
            must help; a task on grammar (pronouns, if grammar is the target) as `unrelated`, which should not matter;
            and `shuffled`, sentence pairs with permuted labels, which must not help. `hostile`: two such tasks and the
            unrelated one.
        rows (`int`): Training rows of the target.
        seed (`int`): Seed of all draws.
        auxiliary_rows (`int`): Rows of every auxiliary, at most.
        test_rows (`int`): Test rows, at most. They are drawn from the official training and validation sets.

    Raises:
        ValueError: If there is no such suite, or if the target has too few rows.
    """
    own = [_scaled(row, target) for row in workload.rows[target] + workload.validation[target]]
    random.Random(f"{seed} {target}").shuffle(own)
    num_test = min(test_rows, len(own) - rows - auxiliary_rows)
    if num_test < rows:
        raise ValueError(
            f"{target} has {len(own)} rows, which leaves too few for the test: pass fewer than {rows} training rows "
            f"of it or fewer than {auxiliary_rows} rows of an auxiliary"
        )
    train, more, test = own[:rows], own[rows : rows + auxiliary_rows], own[-num_test:]
    heads, rows_of = {target: workload.heads[target]}, {target: train}

    def add(name: str, source: str, shuffled: bool = False, of_task: Rows | None = None) -> None:
        drawn = random.Random(f"{seed} {name} {source}")
        heads[name] = workload.heads[source]
        rows_of[name] = of_task or sample_rows(workload, source, auxiliary_rows, drawn, shuffled)

    unrelated = "cola" if target != "cola" else "wnli"
    if suite == "natural":
        for name in PAPER_TASKS:
            if name != target:
                add(name, name)
    elif suite in ("mixed", "hostile"):
        if suite == "mixed":
            add("more", target, of_task=more)
        add("unrelated", unrelated)
        add("shuffled", "mrpc" if target != "mrpc" else "rte", shuffled=True)
        if suite == "hostile":
            add("shuffled_too", "stsb" if target != "stsb" else "rte", shuffled=True)
    else:
        raise ValueError(f"suite {suite!r}: pass natural, mixed or hostile")
    return Problem(heads, rows_of, test)


def sample_rows(workload: Workload, task: str, count: int, drawn: random.Random, shuffled: bool = False) -> Rows:
    """
    Draws training rows of a task.

    Args:
        workload (`Workload`): Has the task.
        task (`str`): The task.
        count (`int`): Number of rows, at most.
        drawn (`random.Random`): Draws the rows and permutes their labels.
        shuffled (`bool`, *optional*, defaults to `False`): Whether to permute the labels.
    """
    rows = [_scaled(row, task) for row in workload.rows[task]]
    rows = drawn.sample(rows, min(count, len(rows)))
    if not shuffled:
        return rows
    labels = [row["labels"] for row in rows]
    drawn.shuffle(labels)
    return [{**row, "labels": label} for row, label in zip(rows, labels, strict=True)]


def paper_problem(workload: Workload, target: str) -> Problem:
    """
    A set-up of αVIL's paper: all training rows of its five tasks, and the target's official validation set.

    Args:
        workload (`Workload`): Has the five tasks.
        target (`str`): One of `PAPER_TASKS`.

    Raises:
        ValueError: If the target is another task.
    """
    if target not in PAPER_TASKS:
        raise ValueError(f"target {target!r}: the paper's are " + ", ".join(PAPER_TASKS))
    names = [target, *(name for name in PAPER_TASKS if name != target)]
    return Problem(
        {name: workload.heads[name] for name in names},
        {name: workload.rows[name] for name in names},
        workload.validation[target],
    )


def _scaled(row: dict[str, Any], task: str) -> dict[str, Any]:
    return row if task not in SCALES else {**row, "labels": row["labels"] / SCALES[task]}
