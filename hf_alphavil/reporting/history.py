"""The history file of a run: α, task weights and meta loss of every epoch."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files.atomic_file import atomic_write

HISTORY_FILE = "alphavil_history.json"

#: The record of one epoch, with keys such as `epoch`, `alpha`, `task_weights`, `task_weights_used` and `meta_loss`.
HistoryEntry = dict[str, Any]


def write_history(history: Sequence[HistoryEntry], directory: str | os.PathLike[str]) -> Path:
    """
    Writes the history of a run to `alphavil_history.json`. A reader never sees a half-written file.

    Args:
        history (`Sequence[dict]`):
            The `history` of [`MultitaskTrainer`]. Infinite values and NaN become null, since JSON cannot hold them.
        directory (`str` or `os.PathLike`): The folder to write to. It is created if missing.

    Returns:
        `Path`: The file.
    """
    path = Path(directory) / HISTORY_FILE
    text = json.dumps(_map_numbers(list(history), _none_if_not_finite), indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write(path, text + "\n")
    return path


def read_history(path: str | os.PathLike[str]) -> list[HistoryEntry]:
    """
    Reads a history that [`write_history`] wrote.

    Args:
        path (`str` or `os.PathLike`): The file, or the folder that holds it.

    Returns:
        `list[dict]`: One record per epoch. Every null is read as NaN.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a history.
    """
    path = Path(path)
    path = path / HISTORY_FILE if path.is_dir() else path
    try:
        history = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); pass a run's {HISTORY_FILE}"
        ) from error
    if not isinstance(history, list) or not all(isinstance(record, dict) and "epoch" in record for record in history):
        raise ValueError(f"{path}: not a list of epochs; pass a run's {HISTORY_FILE}")
    return _map_numbers(history, lambda value: math.nan if value is None else value)


def kept_entry(history: Sequence[HistoryEntry]) -> HistoryEntry:
    """
    The entry of the epoch that the kept model is from.

    It is the last one, unless the best model was loaded at the end: then entries say whether they are `kept`.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `dict`: The entry; empty if no epoch was finished when the kept model was saved.
    """
    if best_was_loaded(history):
        return next((entry for entry in history if entry["kept"]), {})
    return history[-1] if history else {}


def kept_entries(history: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """
    The entries of the epochs up to the one that the kept model is from.

    Args:
        history (`Sequence[dict]`): The history of a run.
    """
    last = kept_entry(history).get("epoch", 0)
    return [entry for entry in history if entry["epoch"] <= last]


def fitted_entry(history: Sequence[HistoryEntry]) -> HistoryEntry:
    """
    The last entry, up to the kept model's, of an epoch that fitted α. Epochs that train the target alone fit none.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `dict`: The entry; empty if there is none.
    """
    return next((entry for entry in reversed(kept_entries(history)) if entry.get("alpha")), {})


def trains_target_alone(entry: HistoryEntry) -> bool:
    """Whether an epoch was one of the last ones, which train on the target alone (`final_target_epochs`)."""
    return bool(entry.get("trains_held_out"))


def best_was_loaded(history: Sequence[HistoryEntry]) -> bool:
    """Whether the best model was loaded at the end of a run."""
    return any("kept" in entry for entry in history)


def epochs_of_choice(history: Sequence[HistoryEntry]) -> Counter[str]:
    """
    Counts the epochs that chose each auxiliary (`max_auxiliaries_per_epoch`), up to the kept model's.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `Counter[str]`: By auxiliary; empty if epochs did not choose.
    """
    return Counter(task for entry in kept_entries(history) for task in entry.get("chosen_auxiliaries", ()))


def tasks_of(history: Iterable[HistoryEntry], target: str) -> list[str]:
    """
    Lists the tasks of a history: the target first, then the others in order of appearance.

    Args:
        history (`Iterable[dict]`): The history of a run.
        target (`str`): The target task. It comes first even if the history does not mention it.

    Returns:
        `list[str]`: Task names.
    """
    names = [target]
    for record in history:
        for key in ("task_weights_used", "task_weights", "alpha"):
            names += [name for name in record.get(key, {}) if name not in names]
    return names


def _none_if_not_finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _map_numbers(value: Any, convert: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _map_numbers(item, convert) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_numbers(item, convert) for item in value]
    return convert(value)
