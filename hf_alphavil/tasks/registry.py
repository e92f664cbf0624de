"""All tasks by name: one YAML file for each task of the benchmarks, and the user's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..settings.suggestion import did_you_mean
from .definition import TaskDefinition
from .definition_reader import benchmark_keys, read_benchmark_task, read_definitions, simplified
from .errors import DataError

BENCHMARK_NAMES = {"glue": "GLUE", "superglue": "SuperGLUE"}
BENCHMARKS = tuple(BENCHMARK_NAMES)
YAML_SUFFIXES = (".yaml", ".yml")
#: The most files below a folder of YAML files.
MAX_FILES = 20_000


def available_tasks(include_path: Any = None) -> tuple[str, ...]:
    """
    The names that [`load_tasks`] knows, such as `"rte"`, sorted.

    Args:
        include_path (`str`, `Path` or a list of them, *optional*):
            YAML files, or folders of them, that define the user's tasks.
    """
    return tuple(sorted([*benchmark_keys().values(), *own_definitions(include_path)]))


def diagnostics(benchmark: str, names: Iterable[str]) -> list[str]:
    """A leaderboard's evaluation-only tasks that the heads of the tasks `names` can be scored with."""
    heads = {simplified(name) for name in names}
    return [
        definition.key
        for definition in benchmark_definitions(benchmark)
        if heads & {simplified(head) for head in definition.head_tasks}
    ]


def benchmark_definitions(benchmark: str) -> list[TaskDefinition]:
    """The definitions of all tasks of a benchmark, in the order of their names."""
    definitions = map(get_definition, benchmark_keys().values())
    return [definition for definition in definitions if definition.benchmark == benchmark]


def get_definition(name: str, own: Mapping[str, TaskDefinition] | None = None) -> TaskDefinition:
    """
    Finds the definition of a task.

    Args:
        name (`str`):
            A user's task, or a benchmark's task in any case and in the benchmark's spelling, such as `"STS-B"`.
        own (`dict[str, TaskDefinition]`, *optional*):
            The user's tasks by name.

    Raises:
        ValueError: If the task is unknown. The message lists the known ones.
    """
    own = own or {}
    if name in own:
        return own[name]
    keys = benchmark_keys()
    if simplified(name) in keys:
        return read_benchmark_task(keys[simplified(name)])
    known = sorted([*keys.values(), *own])
    hint = did_you_mean(name, known)
    if len(name.replace(",", " ").split()) > 1:
        hint = " Write several names with spaces between them, each without quotes or commas."
    raise ValueError(f"unknown task {name!r}; known are {', '.join(known)}.{hint}")


def own_definitions(include_path: Any) -> dict[str, TaskDefinition]:
    """
    Reads the user's tasks.

    Args:
        include_path (`str`, `Path` or a list of them, *optional*):
            YAML files, or folders whose `.yaml` and `.yml` files are all read, at any depth.

    Raises:
        DataError: If a path is missing, a definition is faulty, or two tasks have the same name.
    """
    paths = [] if include_path is None else include_path
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    definitions: dict[str, TaskDefinition] = {}
    for file in dict.fromkeys(file.resolve() for path in paths for file in _yaml_files(Path(path).expanduser())):
        for key, definition in read_definitions(file).items():
            if key in definitions:
                other = definitions[key].source.file
                raise definition.source.fault(f"the task {key!r} is defined in {other} too; rename one.", key)
            definitions[key] = definition
    return definitions


def _yaml_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file for file in _files_below(path) if file.suffix in YAML_SUFFIXES and file.is_file()]
        if not files:
            raise DataError("no .yaml file in this folder.", path, advice="Pass the folder of your tasks' YAML files.")
        return files
    if not os.path.exists(path):
        raise DataError("no such file or folder.", path, advice="Pass a YAML file that defines tasks.")
    return [path]


def _files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted. An unreadable folder is an error, and so is one too large to be meant."""
    found: list[Path] = []
    try:
        for place, _, names in os.walk(folder, onerror=_raise):
            found += [Path(place) / name for name in names]
            if len(found) > MAX_FILES:
                advice = "Pass the folder of your tasks' YAML files."
                raise DataError(f"there are more than {MAX_FILES} files below this folder.", folder, advice=advice)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", Path(error.filename or folder)) from None
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
