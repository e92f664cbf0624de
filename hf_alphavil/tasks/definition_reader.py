"""Reads task definitions from YAML files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ..kinds import SubmissionFormat, TaskSpec
from .definition import TaskDefinition
from .definition_checks import check_columns, check_definition
from .fingerprints import hash_of
from .sources import FileSource, HubSource
from .spec_checks import checked_spec
from .yaml_file import YamlFile

DEFINITIONS_DIR = Path(__file__).parent / "definitions"


@functools.cache
def benchmark_keys() -> dict[str, str]:
    """From the simplified name of each benchmark task to its name, in order of name. See [`simplified`]."""
    return {simplified(key): key for key in sorted(file.stem for file in DEFINITIONS_DIR.glob("*.yaml"))}


def simplified(name: str) -> str:
    """A name without case and punctuation: `"STS-B"`, `"sts_b"` and `"stsb"` are equal."""
    return "".join(character for character in name.casefold() if character.isalnum())


def read_definitions(file: Path) -> dict[str, TaskDefinition]:
    """
    Reads the tasks of one YAML file: one task if `kind` is at its top, else a mapping from names to tasks.

    Raises:
        DataError: If the file or a definition is faulty. The message gives file and line.
    """
    source = YamlFile(file)
    if "kind" in source.content:
        name = source.content.get("name", file.stem)
        return {str(name): _read_definition(source, str(name), source.content, ())}
    return {
        str(name): _read_definition(source, str(name), content, (str(name),))
        for name, content in source.content.items()
    }


@functools.cache
def read_benchmark_task(key: str) -> TaskDefinition:
    """Reads the definition of a benchmark task, given its file's name without suffix."""
    source = YamlFile(DEFINITIONS_DIR / f"{key}.yaml")
    return _read_definition(source, key, source.content, ())


def _read_definition(source: YamlFile, key: str, content: Any, place: tuple[str, ...]) -> TaskDefinition:
    is_own = source.file.parent != DEFINITIONS_DIR
    check_definition(source, key, content, place, is_own)
    if is_own and simplified(key) in benchmark_keys():
        raise source.fault(f"the name {key!r} is a benchmark task's; give yours another.", *place)
    settings = _with_tuples(content)
    name = str(settings.pop("name", key))
    hub, files, form = (settings.pop(part, None) for part in ("hub", "files", "submission"))
    head_tasks = settings.pop("head_task", ())
    head_tasks = (head_tasks,) if isinstance(head_tasks, str) else head_tasks
    prepare, fraction = settings.pop("prepare", None), settings.pop("validation_fraction", None)
    evaluated_with, sizes = settings.pop("evaluated_with", ()), settings.pop("sizes", {})
    try:
        submission = SubmissionFormat(**_with_tuples(form)) if form is not None else None
        spec = checked_spec(TaskSpec(key, **settings, submission=submission))
    except ValueError as error:
        raise source.fault(f"{error}.", *(place or ("kind",))) from None
    if prepare is None:
        for part, parsed in (("files", files), ("hub", hub)):
            try:
                check_columns(spec, (parsed or {}).get("columns", {}))
            except ValueError as error:
                raise source.fault(f"{error}.", *place, part, "columns") from None
    return TaskDefinition(
        key=key,
        name=name,
        spec=spec,
        hub=HubSource(**hub) if hub is not None else None,
        files=FileSource(**_with_tuples(files)) if files is not None else None,
        content=hash_of({name: value for name, value in content.items() if name != "license"}),
        prepare=prepare,
        validation_fraction=fraction,
        evaluated_with=evaluated_with,
        head_tasks=tuple(benchmark_keys().get(simplified(name), name) for name in head_tasks),
        sizes=sizes,
        source=source,
    )


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
