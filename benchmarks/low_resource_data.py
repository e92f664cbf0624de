"""Low-resource problems from a workload: few rows of a target, auxiliaries of known use, and a large test set."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from workload import Rows, Workload

#: The tasks from which problems are made.
TASKS = ("rte", "mrpc", "wnli", "cb", "copa", "stsb", "cola")
#: Rows of every auxiliary, and of the test set, at most.
AUXILIARY_ROWS, TEST_ROWS = 300, 2000
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


def make_problem(workload: Workload, target: str, suite: str, rows: int, seed: int) -> Problem:
    """
    Draws a problem. The seed changes the training rows, the auxiliaries' rows and their permuted labels.

    Args:
        workload (`Workload`): Has all of `TASKS`.
        target (`str`): The target.
        suite (`str`):
            `natural`: the other tasks of αVIL's paper. `mixed`: other rows of the target's own task as `more`, which
            must help; a task on grammar or sentiment that should not matter; and `shuffled`, sentence pairs with
            permuted labels, which must not help. `hostile`: two such tasks and the unrelated one.
        rows (`int`): Training rows of the target.
        seed (`int`): Seed of all draws.
    """
    drawn = random.Random(f"{seed} {target} {suite}")
    own = [_scaled(row, target) for row in workload.rows[target] + workload.validation[target]]
    drawn.shuffle(own)
    train, more = own[:rows], own[rows : rows + AUXILIARY_ROWS]
    # Every suite has the same test rows for the same seed, so the rows of `more` are never among them.
    test = own[rows + AUXILIARY_ROWS :][:TEST_ROWS]
    heads, rows_of = {target: workload.heads[target]}, {target: train}

    def add(name: str, source: str, of_task: Rows) -> None:
        heads[name], rows_of[name] = workload.heads[source], of_task

    def sample(source: str) -> Rows:
        population = [_scaled(row, source) for row in workload.rows[source]]
        return drawn.sample(population, min(AUXILIARY_ROWS, len(population)))

    def shuffled(source: str) -> Rows:
        of_task = sample(source)
        labels = [row["labels"] for row in of_task]
        drawn.shuffle(labels)
        return [{**row, "labels": label} for row, label in zip(of_task, labels, strict=True)]

    unrelated = "cola" if target != "cola" else "wnli"
    pairs = "mrpc" if target != "mrpc" else "rte"
    if suite == "natural":
        for name in ("rte", "mrpc", "wnli", "cb", "copa"):
            if name != target:
                add(name, name, sample(name))
    elif suite == "mixed":
        add("more", target, more)
        add("unrelated", unrelated, sample(unrelated))
        add("shuffled", pairs, shuffled(pairs))
    elif suite == "hostile":
        add("unrelated", unrelated, sample(unrelated))
        add("shuffled", pairs, shuffled(pairs))
        add("shuffled_too", "stsb" if target != "stsb" else "rte", shuffled("stsb" if target != "stsb" else "rte"))
    else:
        raise ValueError(f"suite {suite!r}: pass natural, mixed or hostile")
    return Problem(heads, rows_of, test)


def _scaled(row: dict[str, Any], task: str) -> dict[str, Any]:
    return row if task not in SCALES else {**row, "labels": row["labels"] / SCALES[task]}
