"""What the files of a run tell: all that its page needs, without the model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpointing.run_state import STATE_NAME, load_run_state
from ..files.atomic_file import atomic_write
from ..methods import METHODS
from .card import last_scores
from .cost import cost_of
from .facts import FACTS_FILE, RunFacts, read_facts, with_rows
from .history import HISTORY_FILE, HistoryEntry, read_history
from .model_card import CardTask
from .page import write_page

TRAINER_STATE = "trainer_state.json"
#: The rows that the page shows. Trainer's `push_to_hub` leaves out files whose names start with an underscore.
EXAMPLES_FILE = "_report_examples.json"
#: How a checkpoint describes a set of rows, such as `120 rows (content 0a1b)`.
_ROWS = re.compile(r"(\d+) rows")


@dataclass(frozen=True)
class RunFiles:
    """
    What the files of a run tell.

    Args:
        facts (`RunFacts`): What is to be said of the run beside its history.
        history (`Sequence[dict]`): The history of the run.
        log_history (`Sequence[dict]`): Trainer's log.
        examples (`Mapping[str, Sequence[Mapping]]`, *optional*): Rows by task.
    """

    facts: RunFacts
    history: Sequence[HistoryEntry]
    log_history: Sequence[Mapping[str, Any]]
    examples: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def read_run_files(directory: str | os.PathLike[str]) -> RunFiles:
    """
    Reads the files of a run.

    Args:
        directory (`str` or `os.PathLike`):
            An output folder, or a checkpoint, which knows less: neither the settings that differ from the defaults nor
            examples.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder is neither, or a file is damaged.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; pass a run's output folder, or one of its checkpoints")
    if (folder / STATE_NAME).is_file():
        return _of_checkpoint(folder)
    missing = [name for name in (HISTORY_FILE, FACTS_FILE) if not (folder / name).is_file()]
    if missing:
        runs = [str(path.parent) for path in sorted(folder.glob(f"*/{FACTS_FILE}"))]
        raise ValueError(
            f"{folder} has no {missing[0]}: pass the output folder of a run that has ended, or one of its checkpoints"
            + (f". Is {' or '.join(runs[:3])} meant?" if runs else "")
        )
    return RunFiles(
        read_facts(folder), read_history(folder), _log_history(folder), _read_json(folder / EXAMPLES_FILE, {})
    )


def write_examples(directory: str | os.PathLike[str], examples: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """
    Keeps rows for the page, in a file that is not pushed to the Hub. Without rows, an older file is removed.

    Args:
        directory (`str` or `os.PathLike`): The folder of the run.
        examples (`Mapping[str, Sequence[Mapping]]`): Rows by task; see [`example_rows`].
    """
    path = Path(directory) / EXAMPLES_FILE
    if examples:
        atomic_write(path, json.dumps(examples, indent=1, ensure_ascii=False) + "\n")
    else:
        path.unlink(missing_ok=True)


def write_page_of(files: RunFiles, directory: str | os.PathLike[str], with_examples: bool = True) -> Path:
    """
    Writes `report.html` of a run from its files.

    Args:
        files (`RunFiles`): The files.
        directory (`str` or `os.PathLike`): The folder to write to.
        with_examples (`bool`, *optional*, defaults to `True`): Whether the page shows rows of the tasks.
    """
    examples = files.examples if with_examples else {}
    return write_page(directory, files.facts, files.history, files.log_history, examples)


def _of_checkpoint(folder: Path) -> RunFiles:
    state, log_history = load_run_state(folder), _log_history(folder)
    fingerprint = state["fingerprint"]
    settings, rows, other = (fingerprint[part] for part in ("settings", "rows", "other"))
    eval_rows = {name: _count(rows_of) for name, rows_of in _by_task(other, "validation rows of ").items()}
    heads = _by_task(rows, "head of ")
    trained = [settings["target_task"], *rows["tasks in order"]]
    scores = last_scores(log_history, [*trained, *eval_rows, *heads])
    names = dict.fromkeys([*trained, *(score.task for score in scores)])
    heads |= {name: heads.get(head) for name, head in _by_task(other, "head that scores ").items()}
    tasks = [
        CardTask(
            name,
            (heads.get(name) or {}).get("kind") or "sequence_classification",
            _count(rows.get(f"training rows of {name}")),
            problem_type=(heads.get(name) or {}).get("problem_type"),
        )
        for name in names
    ]
    method = METHODS[settings["method"]]
    facts = RunFacts(
        model_name=f"{folder.resolve().parent.name}, {folder.resolve().name}",
        target=settings["target_task"],
        method=method.name,
        tasks=tasks,
        scores=with_rows(scores, tasks, eval_rows),
        alpha_data=settings["alpha_data"] if method.needs_meta_set else None,
        meta_use=method.meta_use,
        cost=cost_of(log_history),
    )
    return RunFiles(facts, state["history"], log_history)


def _by_task(part: Mapping[str, Any], start: str) -> dict[str, Any]:
    """The entries of a fingerprint whose names are these words and a task."""
    return {name.removeprefix(start): value for name, value in part.items() if name.startswith(start)}


def _count(description: str | None) -> int:
    found = _ROWS.match(description or "")
    return int(found[1]) if found else 0


def _log_history(folder: Path) -> list[dict[str, Any]]:
    return _read_json(folder / TRAINER_STATE, {}).get("log_history", [])


def _read_json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
