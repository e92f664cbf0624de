"""What a report says of a run beside its history, and the file that keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..files.atomic_file import atomic_write
from ..kinds import kind_of
from .model_card import CardTask
from .scores import CardScore

FACTS_FILE = "alphavil_run.json"


@dataclass(frozen=True)
class RunFacts:
    """
    What a report says of a run beside its history.

    Args:
        model_name (`str`): The model's name.
        target (`str`): The target task.
        method (`str`): The training method.
        tasks (`Sequence[CardTask]`): The tasks that were trained, and those that were only scored.
        scores (`Sequence[CardScore]`, *optional*): The scores of the kept model.
        alpha_data, meta_use, meta_rows, meta_rows_trained_in_the_end, selected_on, selected_tasks, base_model:
            As in [`write_model_card`].
        training (`Mapping[str, Any]`, *optional*): The settings that a reader needs to reproduce the run.
        changed (`Mapping[str, Any]`, *optional*): The settings that are not at their default.
        cost (`Mapping[str, str]`, *optional*): What the run cost, by the words for it; see [`cost_of`].
    """

    model_name: str
    target: str
    method: str
    tasks: Sequence[CardTask]
    scores: Sequence[CardScore] = ()
    alpha_data: str | None = None
    meta_use: str = "α was fitted"
    meta_rows: int | None = None
    meta_rows_trained_in_the_end: bool = False
    selected_on: str | None = None
    selected_tasks: list[str] | None = None
    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_card(self) -> dict[str, Any]:
        """`dict`: The arguments of [`write_model_card`]."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def write_facts(facts: RunFacts, directory: str | os.PathLike[str]) -> Path:
    """
    Writes what a report says of a run to `alphavil_run.json`, from which `alphavil report` makes the page again.

    Args:
        facts (`RunFacts`): The facts.
        directory (`str` or `os.PathLike`): The folder to write to. It is created if missing.

    Returns:
        `Path`: The file.
    """
    path = Path(directory) / FACTS_FILE
    atomic_write(path, json.dumps(asdict(facts), indent=2, ensure_ascii=False, default=str) + "\n")
    return path


def read_facts(directory: str | os.PathLike[str]) -> RunFacts:
    """
    Reads what [`write_facts`] wrote.

    Args:
        directory (`str` or `os.PathLike`): The folder.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not one of a run.
    """
    path = Path(directory) / FACTS_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = {
            "tasks": [CardTask(**task) for task in values["tasks"]],
            "scores": [CardScore(**score) for score in values["scores"]],
        }
        return RunFacts(**values | lists)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: not a run's {FACTS_FILE} ({error!r}); run the training again to write it") from None


def with_rows(scores: Sequence[CardScore], tasks: Sequence[CardTask], eval_rows: Mapping[str, int]) -> list[CardScore]:
    """
    Adds to every accuracy the number of rows that it is a share of.

    Accuracies over tokens or labels, and of functions that count otherwise, are no such shares.

    Args:
        scores (`Sequence[CardScore]`): Scores on the validation sets.
        tasks (`Sequence[CardTask]`): The tasks.
        eval_rows (`Mapping[str, int]`): Number of validation rows by task.
    """
    by_name = {task.name: task for task in tasks}

    def rows_of(score: CardScore) -> int | None:
        rows = eval_rows.get(score.task, 0)
        right = score.value * rows
        is_share = score.metric == "accuracy" and 0 <= score.value <= 1 and kind_of(by_name[score.task]).has_one_class
        return rows if is_share and rows and abs(right - round(right)) < 1e-6 * rows else None

    return [replace(score, rows=rows_of(score)) for score in scores]
