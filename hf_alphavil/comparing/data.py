"""The rows of a comparison: its tasks, and the split of the target's training rows that all methods share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from .. import Task, load_tasks
from ..data import split_holdout
from ..data.holdout import MIN_HOLDOUT_ROWS
from ..demo.suite import demo_tasks
from ..tasks.fingerprints import hash_of
from .comparison import Data, Run

#: Where the data and the encoder are.
PLACES = ("data_dir", "task_config", "include_path", "model_name_or_path")


@dataclass(frozen=True)
class TargetSplit:
    """
    The target's training set in three parts, as row numbers.

    Args:
        rest (`list[int]`): Rows on which every method trains.
        meta (`list[int]`):
            Rows on which α and similar weights are fitted. A method that fits none trains on them as on the rest.
        selection (`list[int]`): Rows that choose the reported epoch. No method trains on them.
    """

    rest: list[int]
    meta: list[int]
    selection: list[int]

    @property
    def rest_and_meta(self) -> list[int]:
        """`list[int]`: Rows for the trainer. It holds the meta set out itself if its method needs one."""
        return sorted(self.rest + self.meta)


def load_data(data: Data) -> dict[str, Task]:
    """
    Loads all tasks of a comparison.

    Args:
        data (`Data`): Tasks, source and row limits.

    Returns:
        `dict[str, Task]`: Tasks by name, each with `train` rows. Of the user's own, only a target needs `validation`.

    Raises:
        DataError, ValueError: If the data cannot be used.
    """
    if data.suite == "demo":
        generated = demo_tasks(data.data_seed)
        tasks = {name: generated[name] for name in data.tasks}
    else:
        loaded = load_tasks(
            data.tasks, data_dir=data.data_dir, include_path=data.own_tasks, splits=("train", "validation")
        )
        tasks = {name: loaded[name] for name in data.tasks}  # without sets that are only evaluated with their heads
        for name, task in tasks.items():
            if task.train is None:
                raise ValueError(f"tasks: {name!r} has no training rows: leave it out")
    return {name: task.select(data.max_train_samples, seed=data.data_seed) for name, task in tasks.items()}


def split_target(task: Task, data: Data) -> TargetSplit:
    """
    Splits a target's training rows. The split depends only on rows, shares and data seed.

    Args:
        task (`Task`): The target.
        data (`Data`): The shares and the data seed.

    Returns:
        `TargetSplit`: The parts, stratified by label. No two parts share a passage.

    Raises:
        ValueError: If a part would be too small, or if there are no validation rows, which give the reported score.
    """
    if task.validation is None:
        raise ValueError(
            f"the target {task.name!r} has no validation rows, which give the reported score: add them to its YAML, "
            "or `validation_fraction`"
        )
    rest_and_meta, selection = _hold_out(task, task.split("train"), data, "selection_fraction")
    # MultitaskTrainer draws the meta set from its rows in exactly this way.
    rest, meta = _hold_out(task, task.split("train").select(rest_and_meta), data, "meta_fraction")
    return TargetSplit([rest_and_meta[row] for row in rest], [rest_and_meta[row] for row in meta], selection)


def _hold_out(task: Task, rows: Dataset, data: Data, share: str) -> tuple[list[int], list[int]]:
    labels = rows[task.label_column][:] if task.has_one_class else None
    groups = rows[task.group_column][:] if task.group_column is not None else None
    fraction = getattr(data, share)
    try:
        # The trainer would hold out a larger share of so few rows, but a comparison states its shares.
        if fraction * len(rows) < MIN_HOLDOUT_ROWS:
            raise ValueError(f"{fraction} of {len(rows)} rows is fewer than {MIN_HOLDOUT_ROWS}")
        return split_holdout(len(rows), fraction, data.data_seed, labels, groups)
    except ValueError as error:
        raise ValueError(
            f"the target {task.name!r} is too small for {share}={fraction}: raise it, or `max_train_samples` ({error})"
        ) from error


def tasks_of_run(
    tasks: Mapping[str, Task], target: str, split: TargetSplit, without: str | None = None
) -> dict[str, Task]:
    """
    The tasks for the trainer of a run.

    The target's `validation` is the selection slice, its `test` is its own validation set.

    Args:
        tasks (`Mapping[str, Task]`): Tasks from [`load_data`].
        target (`str`): The target.
        split (`TargetSplit`): The target's split.
        without (`str`, *optional*): The auxiliary that is left out.

    Returns:
        `dict[str, Task]`: The tasks. Auxiliaries have only training rows.
    """
    train = tasks[target].split("train")
    of_run = {name: replace(task, validation=None, test=None) for name, task in tasks.items() if name != without}
    of_run[target] = replace(
        tasks[target],
        train=train.select(split.rest_and_meta),
        validation=train.select(split.selection),
        test=tasks[target].split("validation"),
    )
    return of_run


def data_digest(tasks: Mapping[str, Task]) -> str:
    """
    A hash of the rows and of the tasks' settings, such as texts, labels and metrics. It does not depend on where they
    are stored.

    Args:
        tasks (`Mapping[str, Task]`): Tasks from [`load_data`].
    """
    return hash_of(*(_content(task) for task in tasks.values()))


def _content(task: Task) -> list[Any]:
    # What only the model card reads does not count.
    settings = asdict(replace(task.spec, license=None, dataset=None, dataset_config=None))
    return [settings, *(rows[:] if rows is not None else None for rows in (task.train, task.validation))]


def encoder_digest(model_name_or_path: str | None) -> str:
    """
    A hash of the files of an encoder in a folder, or of the id of an encoder on the Hub.

    Args:
        model_name_or_path (`str`, *optional*): The encoder. `None` is that of the demo suite, which the seed defines.
    """
    folder = Path(model_name_or_path or "")
    if model_name_or_path is None or not folder.is_dir():
        return hash_of(model_name_or_path)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    return hash_of(*(part for file in files for part in (file.relative_to(folder).as_posix(), file.read_bytes())))


def run_id(run: Run, data_digest: str, encoder_digest: str) -> str:
    """
    The id of a run: readable, with a digest of everything that determines its result, except the code.

    Args:
        run (`Run`): The run.
        data_digest (`str`): Digest from [`data_digest`].
        encoder_digest (`str`): Digest from [`encoder_digest`].
    """
    settings = asdict(run)
    for place in PLACES:  # the content counts, not its location
        settings["data"].pop(place)
    left_out = "" if run.without is None else f"-without-{run.without}"
    return f"{run.target}-{run.name}{left_out}-s{run.seed}-{hash_of(settings, data_digest, encoder_digest)[:8]}"
