"""The registry: one YAML file per benchmark task, read into a `TaskDefinition`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .submission import SubmissionFormat

DEFINITIONS_DIR = Path(__file__).parent / "definitions"


@dataclass(frozen=True)
class HubSource:
    """A dataset on the Hub: its full id and its configuration."""

    path: str
    name: str


@dataclass(frozen=True)
class OfficialFiles:
    """
    The official archive's files of one task.

    Args:
        benchmark (`str`):
            `"glue"` or `"superglue"`: the folder that may stand around the task's.
        format (`str`):
            A key of `READERS`.
        splits (`dict[str, str]`):
            File name by split.
        columns (`dict[str, str]`):
            The file's column by the Hub's. Without `idx`, `idx` is the row's number.
        labels (`tuple`, *optional*):
            What the files write for each label id, in id order. `None` for regression.
        headers (`dict[str, list[str]]`, *optional*):
            The column names of the splits whose files have no header line.
    """

    benchmark: str
    format: str
    splits: Mapping[str, str]
    columns: Mapping[str, str]
    labels: tuple[str | int | bool, ...] | None = None
    headers: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskDefinition:
    """
    A benchmark task before its rows.

    Args:
        key (`str`):
            The task's name here, such as `"stsb"`.
        name (`str`):
            The benchmark's own spelling, such as `"STS-B"`: the official folder's name.
        settings (`dict[str, Any]`):
            [`Task`]'s arguments other than its name and rows.
        hub (`HubSource`), files (`OfficialFiles`):
            Where the rows come from.
        content (`bytes`):
            The YAML file itself: part of the key of everything cached.
    """

    key: str
    name: str
    settings: Mapping[str, Any]
    hub: HubSource
    files: OfficialFiles
    content: bytes


def available_tasks() -> tuple[str, ...]:
    """The names of the benchmark tasks that [`load_tasks`] knows, such as `"rte"`."""
    return tuple(sorted(file.stem for file in DEFINITIONS_DIR.glob("*.yaml")))


def simplified(name: str) -> str:
    """A name without case and punctuation: `"STS-B"`, `"sts_b"` and `"stsb"` are one."""
    return "".join(character for character in name.casefold() if character.isalnum())


def get_definition(name: str) -> TaskDefinition:
    """
    The definition of a benchmark task.

    Args:
        name (`str`):
            In any case and in the benchmark's own spelling too, such as `"STS-B"`.

    Raises:
        `ValueError`: for an unknown task, with the known ones.
    """
    key, known = simplified(name), available_tasks()
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown task {name!r}; known are {', '.join(known)}.{hint}")
    return _read_definition(key)


@functools.cache
def _read_definition(key: str) -> TaskDefinition:
    content = (DEFINITIONS_DIR / f"{key}.yaml").read_bytes()
    settings = yaml.safe_load(content)
    name, hub, files = settings.pop("name"), settings.pop("hub"), settings.pop("files")
    if "score_range" in settings:
        settings["score_range"] = tuple(settings["score_range"])
    settings["submission"] = SubmissionFormat(**_with_tuples(settings["submission"]))
    return TaskDefinition(key, name, settings, HubSource(**hub), OfficialFiles(**_with_tuples(files)), content)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
