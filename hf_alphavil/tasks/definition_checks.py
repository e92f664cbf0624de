"""Checks of a task's YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..kinds import SubmissionFormat, TaskSpec, kind_of
from ..kinds.yaml_keys import YamlKey, keys_of
from ..settings.suggestion import did_you_mean
from .definition import TaskDefinition
from .metrics import columns_of
from .sources import FileSource, HubSource
from .yaml_file import YamlFile

# Task names become parts of parameter names, metric names and file names.
TASK_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Every key of a task, and the keys below those that are mappings.
KEYS = keys_of(TaskSpec) | keys_of(TaskDefinition)
PARTS = {"hub": keys_of(HubSource), "files": keys_of(FileSource), "submission": keys_of(SubmissionFormat)}


def packaged_keys() -> list[str]:
    """Keys that only the packaged definitions may have, such as `"prepare"` and `"files.folder"`."""
    nested = {f"{part}.{name}": key for part, keys in PARTS.items() for name, key in keys.items()}
    return [name for name, key in (KEYS | nested).items() if key.packaged_only]


def check_definition(source: YamlFile, key: str, content: Any, place: tuple[str, ...], is_own: bool) -> None:
    """
    Checks a task's definition.

    Args:
        source (`YamlFile`):
            The task's file.
        key (`str`):
            The task's name.
        content (`Any`):
            The task's entry in the file.
        place (`tuple[str, ...]`): The keys that lead to the entry.
        is_own (`bool`):
            Whether it is a user's task, not a benchmark's.

    Raises:
        DataError: If the definition is faulty. The message gives file, line, what is allowed and the nearest spelling.
    """
    if not TASK_NAME.fullmatch(key):
        raise source.fault(f"the task name {key!r:.120} is not made of 1 to 100 of A-Z a-z 0-9 _ and -.", *place)
    if not isinstance(content, dict):
        raise source.fault(
            f"the task {key!r} is {content!r:.80}, not a mapping.",
            *place,
            advice="A file of one task has `kind` at its top; a file of several maps names to tasks.",
        )
    _check_keys(source, content, KEYS, place, f"the task {key!r}")
    for part, keys in PARTS.items():
        if part in content:
            _check_keys(source, content[part], keys, (*place, part), f"{part} of the task {key!r}")
    if "files" not in content and "hub" not in content:
        raise source.fault(f"the task {key!r} has neither `files` nor `hub`: its rows come from one of them", *place)
    for path in packaged_keys() if is_own else ():
        part, _, name = path.partition(".")
        if part in content and (not name or name in content[part]):
            raise source.fault(f"{path!r} of the task {key!r} is for benchmarks' tasks; leave it out.", *place, part)
    _check_written_labels(source, key, content, place)
    if "files" in content and not content["files"]["splits"]:
        raise source.fault(f"the task {key!r} names no file.", *place, "files", "splits")


def check_columns(spec: TaskSpec, columns: Mapping[str, str]) -> None:
    """
    Checks which columns a task reads.

    Args:
        spec (`TaskSpec`):
            The task's settings.
        columns (`dict[str, str]`):
            The source's column by ours.

    Raises:
        ValueError: If a column has two roles, or if `columns` has a column that the task does not read.
    """
    texts, label, group = spec.input_columns, spec.label_column, spec.group_column
    place = f"task {spec.name!r}"
    if "idx" in (*texts, label, group):
        raise ValueError(f"{place}: 'idx' is the row's number; give the column another name in `columns`")
    if kind_of(spec).reads_labels and label in (*texts, group):
        raise ValueError(f"{place}: the column {label!r} is the label, and cannot be a text or a group too")
    known = {*texts, *columns_of(spec.metrics), label, "idx", *([group] if group else [])}
    for name in columns:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(
                f"{place}: `columns` names {name!r}, and the task reads {', '.join(sorted(known))}.{hint}"
            )


def _check_written_labels(source: YamlFile, key: str, content: dict[str, Any], place: tuple[str, ...]) -> None:
    written = content.get("files", {}).get("labels")
    if written is None or ("choices_column" in content and "labels" not in content):
        return
    names = content.get("labels") or content.get("choice_columns") or ()
    distinct = {(type(value), value) for value in written}
    if len(written) != len(names) or len(distinct) != len(written):
        raise source.fault(
            f"'labels' in files of the task {key!r} are {written!r:.80}: write one for each of its labels, which are "
            f"{list(names) or 'not named'}, in their order, and none twice.",
            *place,
            "files",
            "labels",
        )


def _check_keys(
    source: YamlFile, content: dict[str, Any], keys: dict[str, YamlKey], place: tuple[str, ...], what: str
) -> None:
    for name, value in content.items():
        if name not in keys:
            hint = did_you_mean(name, keys)
            raise source.fault(
                f"{what} has the unknown key {name!r}; known are {', '.join(keys)}.{hint}", *place, str(name)
            )
        if not keys[name].valid(value):
            raise source.fault(f"{name!r} of {what} is {value!r:.80}: write {keys[name].wanted}.", *place, name)
    for name, key in keys.items():
        if key.required and name not in content:
            raise source.fault(f"{what} has no {name!r}.", *place)
