"""What may stand in a task's YAML."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from .prepare import PREPARE
from .readers import READERS
from .submission import LAYOUTS
from .task import SPLITS, Task
from .yaml_file import YamlFile

# Names become parts of parameter names, of metric names and of file names.
TASK_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types


def _list_of(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(type(item) in types for item in value)


def _map_of(inner: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and all(type(key) is str and inner(item) for key, item in value.items())
    )


_text, _flag, _number = _is(str), _is(bool), _is(int, float)
_texts, _text_map = _list_of(str), _map_of(_is(str))
_Check = tuple[Callable[[Any], bool], str]
TEXT: _Check = (_text, "a string")
TEXTS: _Check = (_texts, "a list of strings")
TEXT_MAP: _Check = (_text_map, "a mapping from names to strings")

SETTINGS: dict[str, _Check] = {
    "kind": TEXT,
    "text_columns": TEXTS,
    "text_templates": TEXTS,
    "labels": (_list_of(str, int), "a list of strings, with yes, no, true, false, on and off in quotes"),
    "problem_type": TEXT,
    "metrics": TEXTS,
    "main_metric": TEXT,
    "greater_is_better": (_flag, "true or false"),
    "group_column": TEXT,
    "label_column": TEXT,
    "context_template": TEXT,
    "value_maps": (_map_of(_text_map), "a mapping from columns to mappings from value to value"),
    "choice_columns": TEXTS,
    "choices_column": TEXT,
    "score_range": (lambda value: _list_of(int, float)(value) and len(value) == 2, "two numbers, as [0, 5]"),
    "mlm_probability": (lambda value: _number(value) and 0 < value < 1, "a share between 0 and 1"),
    "head_task": (lambda value: _text(value) or _texts(value), "a task's name, or a list of them"),
}
DEFINITION: dict[str, _Check] = SETTINGS | {
    "name": TEXT,
    "hub": (lambda value: isinstance(value, dict), "a mapping with the key path"),
    "files": (lambda value: isinstance(value, dict), "a mapping with the key splits"),
    "prepare": (lambda value: _text(value) and value in PREPARE, f"one of {', '.join(PREPARE)}"),
    "validation_fraction": (lambda value: _is(float)(value) and 0 < value < 1, "a share between 0 and 1"),
    "evaluated_with": TEXTS,
    "sizes": (_map_of(_is(int)), "a mapping from splits to numbers of rows"),
    "submission": (lambda value: isinstance(value, dict), "a mapping with the key file_name"),
}
_SPLIT_MAP: _Check = (
    lambda value: _text_map(value) and set(value) <= set(SPLITS),
    f"a mapping from {', '.join(SPLITS)} to one name each",
)
PARTS: dict[str, dict[str, _Check]] = {
    "hub": {"path": TEXT, "name": TEXT, "splits": _SPLIT_MAP, "columns": TEXT_MAP},
    "files": {
        "splits": _SPLIT_MAP,
        "columns": TEXT_MAP,
        "benchmark": TEXT,
        "folder": TEXT,
        "format": (lambda value: _text(value) and value in READERS, f"one of {', '.join(READERS)}"),
        "labels": (_list_of(str, int, bool, float), "a list of what the files write, in the order of `labels`"),
        "label_separator": (lambda value: _text(value) and value != "", "a string"),
        "headers": (
            lambda value: _map_of(_texts)(value) and set(value) <= set(SPLITS),
            f"a mapping from {', '.join(SPLITS)} to lists of column names",
        ),
        "skip_short_rows": (_flag, "true or false"),
    },
    "submission": {
        "file_name": TEXT,
        "labels": (_list_of(str, int), "a list of what the leaderboard wants"),
        "decimals": (_is(int), "a whole number"),
        "test_rows": (_is(int), "a whole number"),
        "layout": (lambda value: _text(value) and value in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
    },
}
REQUIRED = {"hub": "path", "files": "splits", "submission": "file_name"}


#: What only the packaged definitions may say: it goes with code that knows their files.
PACKAGED_KEYS = (
    ("prepare",),
    ("files", "benchmark"),
    ("files", "folder"),
    ("files", "skip_short_rows"),
    ("submission", "layout"),
)


def check_definition(source: YamlFile, key: str, content: Any, place: tuple[str, ...], is_own: bool) -> None:
    """
    Checks a task's definition.

    Args:
        source (`YamlFile`):
            The file in which it stands.
        key (`str`):
            The task's name.
        content (`Any`):
            What the file says of the task.
        place (`tuple[str, ...]`):
            The keys below which it stands.
        is_own (`bool`):
            Whether it is the user's, and not a packaged one.

    Raises:
        [`DataError`]: naming file and line, what is allowed and the nearest spelling.
    """
    if not TASK_NAME.fullmatch(key):
        raise source.fault(f"the task name {key!r} is not made of A-Z a-z 0-9 _ and -.", *place)
    if not isinstance(content, dict):
        raise source.fault(
            f"the task {key!r} is {content!r:.80}, not a mapping.",
            *place,
            advice="A file of one task has `kind` at its top; a file of several maps names to tasks.",
        )
    _check_keys(source, content, DEFINITION, place, f"the task {key!r}")
    if "kind" not in content:
        raise source.fault(f"the task {key!r} has no kind.", *place)
    for part, checks in PARTS.items():
        if part in content:
            _check_keys(source, content[part], checks, (*place, part), f"{part} of the task {key!r}")
            if REQUIRED[part] not in content[part]:
                raise source.fault(f"{part} of the task {key!r} has no {REQUIRED[part]!r}.", *place, part)
    if "files" not in content and "hub" not in content:
        raise source.fault(f"the task {key!r} says neither `files` nor `hub`: where are its rows?", *place)
    for part, *inner in PACKAGED_KEYS if is_own else ():
        if part in content and all(name in content[part] for name in inner):
            path = ".".join((part, *inner))
            raise source.fault(f"{path!r} of the task {key!r} is for benchmarks' tasks; leave it out.", *place, part)
    _check_written_labels(source, key, content, place)
    if "files" in content and not content["files"]["splits"]:
        raise source.fault(f"the task {key!r} names no file.", *place, "files", "splits")


def check_columns(task: Task, columns: Mapping[str, str]) -> None:
    """
    Checks which columns a task reads.

    Args:
        task (`Task`):
            The task, without rows.
        columns (`dict[str, str]`):
            The source's column by ours.

    Raises:
        `ValueError`: for a column that is to be two things, and a name for a column that is not read.
    """
    texts, label, group = task.format.columns, task.label_column, task.group_column
    place = f"task {task.name!r}"
    if "idx" in (*texts, label, group):
        raise ValueError(f"{place}: 'idx' is the row's number; give the column another name in `columns`")
    if task.kind != "masked_lm" and label in (*texts, group):
        raise ValueError(f"{place}: the column {label!r} is the label, and cannot be a text or a group too")
    known = {*texts, *task.score_columns, label, "idx", *([group] if group else [])}
    for name in columns:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (is {close[0]!r} meant?)" if close else ""
            raise ValueError(f"{place}: `columns` names {name!r}, and the task reads {', '.join(sorted(known))}{hint}")


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
    source: YamlFile, content: dict[str, Any], checks: dict[str, _Check], place: tuple[str, ...], what: str
) -> None:
    for key, value in content.items():
        if key not in checks:
            close = difflib.get_close_matches(str(key), checks, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise source.fault(
                f"{what} has the unknown key {key!r}; known are {', '.join(checks)}.{hint}", *place, str(key)
            )
        valid, wanted = checks[key]
        if not valid(value):
            raise source.fault(f"{key!r} of {what} is {value!r:.80}: write {wanted}.", *place, key)
