"""Finds the tasks of `--auxiliary all` and `--candidates all`: those that have files and can be trained."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .definition import TaskDefinition
from .definition_reader import benchmark_keys, simplified
from .local_files import MissingFilesError, MissingFolderError, find_task_folder
from .registry import get_definition


@dataclass(frozen=True)
class FoundTasks:
    """
    Tasks that were found, and those that were left out.

    Args:
        taken (`list[str]`): Names of the tasks that can be trained.
        left_out (`dict[str, list[str]]`): By reason, the names of those that are left out.
    """

    taken: list[str]
    left_out: dict[str, list[str]]

    def describe(self) -> str:
        """`str`: What was taken and what was left out, a line per reason."""
        taken = f"all: {len(self.taken)} tasks: {', '.join(self.taken)}"
        return "\n".join([taken, *(f"  left out: {words}" for words in self.left_out_in_words)])

    @property
    def left_out_in_words(self) -> list[str]:
        """`list[str]`: What was left out and why, an entry per reason."""
        return [f"{', '.join(names)} ({why})" for why, names in self.left_out.items()]


def find_auxiliaries(
    chosen: Iterable[str], own: Mapping[str, TaskDefinition], data_dir: str | Path | None = None
) -> FoundTasks:
    """
    Finds the tasks that can be trained beside those that are chosen already: the benchmarks' in `data_dir`, then the
    user's.

    Left out are sets that are only evaluated, tasks without training rows, and tasks that train on the rows and labels
    of another under a second name: two benchmarks' tasks of one official name (GLUE's and SuperGLUE's RTE), and tasks
    of one kind that read the same labels of the same file or dataset. Without `data_dir`, tasks of the benchmarks are
    not looked for: on the Hub there are all of them, with two million rows.

    Args:
        chosen (`Iterable[str]`): The target, and auxiliaries that are named beside `all`.
        own (`Mapping[str, TaskDefinition]`): The user's tasks by name.
        data_dir (`str` or `Path`, *optional*): Folder of the official files.

    Raises:
        ValueError: If there is nowhere to look, or nothing was found.
        DataError: If `data_dir` is no folder, or lacks the files of a chosen task.
    """
    if data_dir is None and not own:
        raise ValueError(
            "`all` takes the tasks in --data_dir and those of --task_config and --include_path: pass one of them, or "
            "name the tasks, such as cb copa mrpc"
        )
    definitions = [get_definition(name, own) for name in chosen]
    names = {definition.key for definition in definitions}
    taken: list[str] = []
    left_out: dict[str, list[str]] = {}
    seen = {source: definition.key for definition in definitions for source in _sources(definition, data_dir)}
    official = [] if data_dir is None else map(get_definition, benchmark_keys().values())
    for definition in [*official, *own.values()]:
        if definition.key in names:
            continue
        reason, sources = _reason_against(definition), set[Hashable]()
        if reason is None:
            try:
                sources = _sources(definition, data_dir)
            except MissingFolderError:
                reason = "not in --data_dir"
            except MissingFilesError as error:
                reason = f"{error.file}: {error.reason}"
        if reason is None and (others := [seen[source] for source in sources if source in seen]):
            reason = f"the rows of {others[0]}"
        if reason is None:
            taken.append(definition.key)
            seen |= dict.fromkeys(sources, definition.key)
        else:
            left_out.setdefault(reason, []).append(definition.key)
    found = FoundTasks(taken, left_out)
    if not taken:
        raise ValueError(
            f"`all` found no task to train: {'; '.join(found.left_out_in_words)}: pass another --data_dir "
            "or --task_config, the names of tasks, or none"
        )
    return found


def _reason_against(definition: TaskDefinition) -> str | None:
    """Why the task cannot be trained, as far as its definition says."""
    if definition.head_tasks:
        return "only evaluated"
    source = definition.files or definition.hub
    if source is not None and source.splits and "train" not in source.splits:
        return "no training rows"
    return None


def _sources(definition: TaskDefinition, data_dir: str | Path | None) -> set[Hashable]:
    """What tells where a task's training rows and labels are from, however the task is named."""
    spec, files, hub = definition.spec, definition.files, definition.hub
    found = set[Hashable]()
    if definition.benchmark is not None:
        found.add(simplified(definition.name))
    if files is not None and (definition.benchmark is None or data_dir is not None):
        is_own = definition.benchmark is None
        folder = definition.source.file.parent if is_own else find_task_folder(definition, Path(data_dir or ""))
        if "train" in files.splits:
            label = files.columns.get(spec.label_column, spec.label_column)
            found.add(((folder / files.splits["train"]).resolve(), label, spec.kind))
    elif hub is not None:
        label = hub.columns.get(spec.label_column, spec.label_column)
        found.add((hub.path, hub.name, hub.splits.get("train", "train"), label, spec.kind))
    return found
