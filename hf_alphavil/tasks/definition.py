"""The registry: one YAML file per benchmark task, and the user's own, each read into a `TaskDefinition`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .definition_checks import check_columns, check_definition
from .errors import DataError
from .fingerprints import hash_of
from .submission import SubmissionFormat
from .task import SPLITS, Task
from .task_checks import KINDS_WITHOUT_CLASSES
from .yaml_file import YamlFile

DEFINITIONS_DIR = Path(__file__).parent / "definitions"
BENCHMARK_NAMES = {"glue": "GLUE", "superglue": "SuperGLUE"}
BENCHMARKS = tuple(BENCHMARK_NAMES)
YAML_SUFFIXES = (".yaml", ".yml")

__all__ = ["BENCHMARKS", "SPLITS", "TaskDefinition", "available_tasks", "diagnostics", "get_definition"]


@dataclass(frozen=True)
class HubSource:
    """
    A dataset on the Hub, or what else `datasets.load_dataset` takes.

    Args:
        path (`str`):
            Its full id, or a folder.
        name (`str`, *optional*):
            Its configuration.
        splits (`dict[str, str]`, *optional*):
            The dataset's split by ours. Defaults to equal names.
        columns (`dict[str, str]`, *optional*):
            The dataset's column by ours, where they differ.
    """

    path: str
    name: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileSource:
    """
    The files of one task: of a benchmark's official archive, or the user's own.

    Args:
        splits (`dict[str, str]`):
            File name by split; of an own task relative to its YAML file.
        columns (`dict[str, str]`, *optional*):
            The file's column by ours, with dots into nested objects. Columns that are not named here have equal names.
            Without `idx`, `idx` is the row's number.
        benchmark (`str`, *optional*):
            `"glue"` or `"superglue"`: the folder that may stand around the task's.
        folder (`str`, *optional*):
            The official folder of a benchmark's task where it is not called as the task.
        format (`str`, *optional*):
            A key of `READERS`. Defaults to what the suffix says.
        labels (`tuple`, *optional*):
            What the files write for each label id, in id order. Defaults to the labels' names, or their ids.
        label_separator (`str`, *optional*, defaults to `","`):
            What stands between several labels in one string.
        headers (`dict[str, list[str]]`, *optional*):
            The column names of the splits whose files have no header line.
        skip_short_rows (`bool`, *optional*, defaults to `False`):
            Whether rows with too few fields are left out with a warning (TSV).
    """

    splits: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)
    benchmark: str | None = None
    folder: str | None = None
    format: str | None = None
    labels: tuple[str | int | bool, ...] | None = None
    label_separator: str = ","
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    skip_short_rows: bool = False


@dataclass(frozen=True)
class TaskDefinition:
    """
    A task before its rows.

    Args:
        key (`str`):
            The task's name here, such as `"stsb"`.
        name (`str`):
            The benchmark's own spelling, such as `"STS-B"`: the official folder's name.
        settings (`dict[str, Any]`):
            [`Task`]'s arguments other than its name and rows.
        hub (`HubSource`, *optional*), files (`FileSource`, *optional*):
            Where the rows come from: a benchmark's from either, an own task's from one.
        content (`str`):
            A hash of the definition: part of the key of everything cached.
        prepare (`str`, *optional*):
            A key of `PREPARE`: what turns a row of the source into rows of the task.
        validation_fraction (`float`, *optional*):
            The share of the training rows that becomes the validation split where there is none.
        evaluated_with (`tuple[str, ...]`):
            Evaluation-only tasks that are loaded along.
        head_tasks (`tuple[str, ...]`):
            The tasks with whose head an evaluation-only one may be evaluated.
        sizes (`dict[str, int]`):
            The official numbers of rows by split.
        source (`YamlFile`):
            The YAML file.
    """

    key: str
    name: str
    settings: Mapping[str, Any]
    hub: HubSource | None
    files: FileSource | None
    content: str
    prepare: str | None
    validation_fraction: float | None
    evaluated_with: tuple[str, ...]
    head_tasks: tuple[str, ...]
    sizes: Mapping[str, int]
    source: YamlFile

    @property
    def benchmark(self) -> str | None:
        """`str`, *optional*: `"glue"`, `"superglue"` or, of an own task, `None`."""
        return self.files.benchmark if self.files is not None else None


def available_tasks(include_path: Any = None) -> tuple[str, ...]:
    """
    The names that [`load_tasks`] knows, such as `"rte"`, sorted.

    Args:
        include_path (`str`, `Path` or a list of them, *optional*):
            YAML files, or folders of them, with tasks of the user's own.
    """
    return tuple(sorted([*_benchmark_tasks(), *own_definitions(include_path)]))


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
    definitions = map(get_definition, _benchmark_tasks())
    return [definition for definition in definitions if definition.benchmark == benchmark]


def simplified(name: str) -> str:
    """A name without case and punctuation: `"STS-B"`, `"sts_b"` and `"stsb"` are one."""
    return "".join(character for character in name.casefold() if character.isalnum())


def get_definition(name: str, own: Mapping[str, TaskDefinition] | None = None) -> TaskDefinition:
    """
    The definition of a task.

    Args:
        name (`str`):
            An own task's name, or a benchmark task's in any case and in the benchmark's own spelling, such as
            `"STS-B"`.
        own (`dict[str, TaskDefinition]`, *optional*):
            The user's tasks by name.

    Raises:
        `ValueError`: for an unknown task, with the known ones.
    """
    own = own or {}
    if name in own:
        return own[name]
    keys = _benchmark_keys()
    if simplified(name) in keys:
        return _read_benchmark_task(keys[simplified(name)])
    known = sorted([*keys.values(), *own])
    close = difflib.get_close_matches(name.casefold(), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown task {name!r}; known are {', '.join(known)}.{hint}")


def own_definitions(include_path: Any) -> dict[str, TaskDefinition]:
    """
    Reads the user's tasks.

    Args:
        include_path (`str`, `Path` or a list of them, *optional*):
            YAML files, or folders of which every `.yaml` and `.yml` file below is read.

    Raises:
        [`DataError`]: for a path that is not there, a definition with a fault, and two tasks of one name.
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


def read_definitions(file: Path) -> dict[str, TaskDefinition]:
    """
    The tasks of one YAML file: the one that it is, with `kind` at its top, or those that it maps names to.

    Raises:
        [`DataError`]: naming file and line.
    """
    source = YamlFile(file)
    if "kind" in source.content:
        name = source.content.get("name", file.stem)
        return {str(name): _read_definition(source, str(name), source.content, ())}
    return {
        str(name): _read_definition(source, str(name), content, (str(name),))
        for name, content in source.content.items()
    }


def _yaml_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.suffix in YAML_SUFFIXES and file.is_file()]
        if not files:
            raise DataError("no .yaml file in this folder.", path, advice="Pass the folder of your tasks' YAML files.")
        return files
    if not path.is_file():
        raise DataError("no such file or folder.", path, advice="Pass a YAML file that defines tasks.")
    return [path]


@functools.cache
def _benchmark_tasks() -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in DEFINITIONS_DIR.glob("*.yaml")))


@functools.cache
def _benchmark_keys() -> dict[str, str]:
    """The benchmarks' tasks by their names without case and punctuation."""
    return {simplified(key): key for key in _benchmark_tasks()}


@functools.cache
def _read_benchmark_task(key: str) -> TaskDefinition:
    source = YamlFile(DEFINITIONS_DIR / f"{key}.yaml")
    return _read_definition(source, key, source.content, ())


def _read_definition(source: YamlFile, key: str, content: Any, place: tuple[str, ...]) -> TaskDefinition:
    is_own = source.file.parent != DEFINITIONS_DIR
    check_definition(source, key, content, place, is_own)
    if is_own and simplified(key) in _benchmark_keys():
        raise source.fault(f"the name {key!r} is a benchmark task's; give yours another.", *place)
    settings = dict(content)
    name = str(settings.pop("name", key))
    hub, files, form = (settings.pop(part, None) for part in ("hub", "files", "submission"))
    head_tasks = settings.pop("head_task", ())
    head_tasks = [head_tasks] if isinstance(head_tasks, str) else head_tasks
    head_tasks = tuple(_benchmark_keys().get(simplified(name), name) for name in head_tasks)
    prepare, fraction = settings.pop("prepare", None), settings.pop("validation_fraction", None)
    evaluated_with, sizes = tuple(settings.pop("evaluated_with", ())), settings.pop("sizes", {})
    settings = _with_tuples(settings)
    if settings.get("labels") is not None:
        settings["labels"] = tuple(map(str, settings["labels"]))
    try:
        if form is not None:
            settings["submission"] = SubmissionFormat(**_with_tuples(form))
        needs_labels = settings["kind"] not in KINDS_WITHOUT_CLASSES and not settings.get("choice_columns")
        # Numbers stand for labels that the training rows will name, as many as the submission writes.
        written = settings["submission"].labels if form is not None else None
        numbers = map(str, range(len(written) if written else 2))
        task = Task(key, **({"labels": tuple(numbers)} if needs_labels else {}) | settings)
    except ValueError as error:
        raise source.fault(f"{error}.", *(place or ("kind",))) from None
    if prepare is None:
        for part, said in (("files", files), ("hub", hub)):
            try:
                check_columns(task, (said or {}).get("columns", {}))
            except ValueError as error:
                raise source.fault(f"{error}.", *place, part, "columns") from None
    return TaskDefinition(
        key=key,
        name=name,
        settings=settings,
        hub=HubSource(**hub) if hub is not None else None,
        files=FileSource(**_with_tuples(files)) if files is not None else None,
        content=hash_of(content),
        prepare=prepare,
        validation_fraction=fraction,
        evaluated_with=evaluated_with,
        head_tasks=head_tasks,
        sizes=sizes,
        source=source,
    )


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
