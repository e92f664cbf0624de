"""
Reads and checks the YAML file of a comparison.

The checks are by hand: most are of names that `METHODS`, the tasks and the training arguments know.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import MultitaskTrainingArguments
from ..demo.suite import DEMO_TASKS
from ..files.regular_file import read_regular_file
from ..files.yaml_nodes import MAX_BYTES, compose, construct
from ..methods import FORMER_METHODS, METHODS
from ..settings.flags_file import FlagLoader
from ..settings.suggestion import did_you_mean
from ..tasks import available_tasks
from ..tasks.registry import get_definition, own_definitions
from .comparison import Comparison, Data, MethodEntry
from .data import PLACES

SUITES = ("glue", "demo")

#: Training arguments that the comparison sets itself, equally for all methods.
FIXED_SETTINGS = (
    "output_dir", "target_task", "method", "seed", "data_seed", "alpha_data", "alpha_holdout_fraction", "max_steps",
    "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "eval_auxiliaries", "save_strategy",
    "load_best_model_at_end", "metric_for_best_model", "greater_is_better",
)  # fmt: skip
#: Training arguments that decide which rows a run trains on, and how often. No method may override them.
BUDGET_SETTINGS = (
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "delta_fraction",
    "max_phase_steps",
)  # fmt: skip


def read_comparison(path: Path, data_dir: str | None = None, model_name_or_path: str | None = None) -> Comparison:
    """
    Reads and checks a comparison.

    Args:
        path (`Path`):
            A YAML file. A relative `data_dir`, `task_config` or `include_path` in it is relative to its folder.
        data_dir (`str`, *optional*): Overrides the value in the file.
        model_name_or_path (`str`, *optional*): Overrides the value in the file.

    Returns:
        `Comparison`: The comparison. The settings of every run are valid training arguments.

    Raises:
        ValueError: For any mistake. The message contains the file, the key or the line, and what to write instead.
    """
    try:
        given = construct(*compose(read_regular_file(path, MAX_BYTES).decode("utf-8-sig"), FlagLoader))
        return _comparison(given, path.parent, data_dir, model_name_or_path)
    except (ValueError, ImportError) as error:
        raise ValueError(f"{path}: {error}") from error


def _comparison(given: Any, folder: Path, data_dir: str | None, model_name_or_path: str | None) -> Comparison:
    if not isinstance(given, dict):
        raise ValueError("not a mapping of keys to values, such as `tasks: [rte, mrpc]`")
    data_keys = [entry.name for entry in fields(Data)]
    own_keys = ("methods", "targets", "seeds", "baseline", "settings", "leave_one_out")
    _check_known("key", given, (*data_keys, *own_keys))
    data = _data({key: given[key] for key in data_keys if key in given}, folder, data_dir, model_name_or_path)
    targets = _items(given, "targets", str) if "targets" in given else data.tasks
    for target in targets:
        _check_choice("targets", target, data.tasks)
    settings = given.get("settings") or {}
    _check_settings(settings, FIXED_SETTINGS, "settings")
    methods = _methods(given.get("methods"))
    names = [entry.name for entry in methods]
    comparison = Comparison(
        methods=methods,
        targets=targets,
        seeds=_items(given, "seeds", int),
        baseline=given.get("baseline", "multitask" if "multitask" in names else names[0]),
        settings=settings,
        data=data,
        leave_one_out=_leave_one_out(given, methods, data.tasks) if "leave_one_out" in given else [],
    )
    _check_choice("baseline", comparison.baseline, names)
    for entry in comparison.methods:
        _check_values(entry, settings | entry.settings)
    return comparison


def _data(given: dict[str, Any], folder: Path, data_dir: str | None, model_name_or_path: str | None) -> Data:
    tasks = _items(given, "tasks", str)
    if len(tasks) < 2:
        raise ValueError(f"tasks: {tasks[0]!r} alone has no auxiliaries: write two tasks or more")
    suite = given.get("suite", Data.suite)
    _check_choice("suite", suite, SUITES)
    for key in ("data_dir", "task_config", "include_path"):
        given[key] = _resolve_place(given, key, folder)
    given["data_dir"] = given["data_dir"] if data_dir is None else data_dir
    given["model_name_or_path"] = model_name_or_path or _resolve_encoder(given.get("model_name_or_path"))
    for key in PLACES:
        if suite == "demo" and given[key] is not None:
            raise ValueError(f"{key}={given[key]!r}: the suite 'demo' has its own data and encoder; leave it out")
    if given["data_dir"] is not None and not Path(given["data_dir"]).is_dir():
        raise ValueError(
            f"data_dir: the folder {given['data_dir']} does not exist: pass the folder of the official GLUE and "
            "SuperGLUE files with --data_dir"
        )
    encoder = given["model_name_or_path"]
    if encoder is not None and encoder.startswith(("/", ".")) and not Path(encoder).is_dir():
        raise ValueError(
            f"model_name_or_path: the folder {encoder} does not exist: pass an encoder with --model_name_or_path"
        )
    if suite == "glue" and encoder is None:
        raise ValueError("model_name_or_path is missing: write an id or a folder, such as roberta-base")
    data = Data(**given)
    _check_tasks(data)
    for key in ("selection_fraction", "meta_fraction"):
        value = getattr(data, key)
        if not isinstance(value, float) or not 0 < value < 1:
            raise ValueError(f"{key}={value!r}: write a share in (0, 1)")
    if type(data.data_seed) is not int:
        raise ValueError(f"data_seed={data.data_seed!r}: write a whole number")
    if data.max_train_samples is not None and (type(data.max_train_samples) is not int or data.max_train_samples < 1):
        raise ValueError(f"max_train_samples={data.max_train_samples!r}: write a number of rows, or leave it out")
    return data


def _resolve_place(given: Mapping[str, Any], key: str, folder: Path) -> str | None:
    """Makes a path relative to the folder of the comparison's file."""
    place = given.get(key)
    if place is None:
        return None
    if not isinstance(place, str) or not place:
        raise ValueError(f"{key}={place!r}: write one path")
    return str((folder / Path(place).expanduser()).resolve())


def _check_tasks(data: Data) -> None:
    if data.suite == "demo":
        for task in data.tasks:
            _check_choice("tasks", task, DEMO_TASKS)
        return
    own = own_definitions(data.own_tasks)
    advice = "" if own else ", or name the YAML file of your own tasks as task_config"
    for task in data.tasks:
        _check_choice("tasks", task, (*own, *available_tasks()), advice)
        if heads := get_definition(task, own).head_tasks:
            raise ValueError(
                f"tasks: {task!r} is never trained, only evaluated with the head of {' or '.join(heads)}: leave it out"
            )


def _resolve_encoder(encoder: Any) -> str | None:
    """Keeps an id or a path, and resolves `{package: ..., folder: ...}` to a folder of an installed package."""
    if encoder is None or isinstance(encoder, str):
        return encoder
    if not isinstance(encoder, dict) or set(encoder) != {"package", "folder"}:
        raise ValueError(
            f"model_name_or_path={encoder!r}: write an id, a folder, or the `package` and `folder` of a Python package"
        )
    found = find_spec(encoder["package"])
    if found is None or found.origin is None:
        raise ValueError(
            f"model_name_or_path: the package {encoder['package']} is not installed: install it "
            "(pip install -e '.[dev]' does), or pass another encoder with --model_name_or_path"
        )
    return str(Path(found.origin).parent / encoder["folder"])


def _methods(given: Any) -> list[MethodEntry]:
    if given == "all":
        given = list(METHODS)
    if not isinstance(given, list) or not given:
        raise ValueError(f"methods={given!r}: write a list of methods, or `all`")
    entries = [_method(entry) for entry in given]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"methods: {name!r} occurs more than once: give each entry a different `name`")
    return entries


def _leave_one_out(given: Mapping[str, Any], methods: Collection[MethodEntry], tasks: Collection[str]) -> list[str]:
    names = _items(given, "leave_one_out", str)
    entries = {entry.name: entry for entry in methods}
    for name in names:
        _check_choice("leave_one_out", name, entries)
        method = METHODS[entries[name].method]
        if not method.trains_on("an auxiliary", "the target"):
            raise ValueError(f"leave_one_out: {name!r} trains no auxiliaries that could be left out: remove it")
        least = max(1, method.min_auxiliaries)
        if len(tasks) < 2 + least:
            raise ValueError(
                f"leave_one_out: {name!r} needs {least + 1} auxiliaries or more, so that {least} "
                f"{'is' if least == 1 else 'are'} left: add tasks, or compare with the method 'single'"
            )
    return names


def _method(given: Any) -> MethodEntry:
    if isinstance(given, str):
        given = {"method": given}
    if not isinstance(given, dict) or "method" not in given:
        raise ValueError(
            f"methods: {given!r}: write a name, or a mapping with `method` and optionally `name` and `settings`"
        )
    _check_known("key of a method", given, ("name", "method", "settings"))
    if given["method"] in FORMER_METHODS:
        raise ValueError(f"methods: unknown {given['method']!r}: {FORMER_METHODS[given['method']]}")
    _check_choice("methods", given["method"], METHODS)
    entry = MethodEntry(given.get("name") or given["method"], given["method"], given.get("settings") or {})
    if not re.fullmatch(r"[\w.+-]+", str(entry.name)):
        raise ValueError(f"methods: name {entry.name!r} is used in file names: use only letters, digits and . _ + -")
    _check_settings(entry.settings, FIXED_SETTINGS, f"methods: settings of {entry.name!r}")
    for setting in entry.settings:
        if setting in BUDGET_SETTINGS:
            raise ValueError(
                f"methods: {setting} of {entry.name!r} would give it other training examples than the others: write "
                "it in the `settings` of the comparison"
            )
    return entry


def _check_settings(settings: Any, fixed: Collection[str], place: str) -> None:
    if not isinstance(settings, dict):
        raise ValueError(f"{place}={settings!r}: write training arguments by name")
    defaults = {entry.name: entry.default for entry in fields(MultitaskTrainingArguments) if entry.init}
    for name, value in settings.items():
        if name in fixed:
            raise ValueError(f"{place}: the comparison sets {name}, equally for all methods: leave it out")
        _check_known("training argument", [name], defaults, place)
        if isinstance(defaults[name], float) and isinstance(value, str):
            raise ValueError(f"{place}: {name}={value!r} is text: write a number, without quotes")


def _check_values(entry: MethodEntry, settings: Mapping[str, Any]) -> None:
    """Lets the training arguments check themselves before any run starts."""
    try:
        args = MultitaskTrainingArguments(output_dir="unused", method=entry.method, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings of the method {entry.name!r}: {error}") from error
    if args.num_train_epochs < 1 or args.num_train_epochs % 1:
        raise ValueError(f"settings: num_train_epochs={args.num_train_epochs}: write a whole number, 1 or more")


def _items(given: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """Reads a list of distinct items of one type, which must not be empty."""
    items = given.get(key)
    if not isinstance(items, list) or not items:
        raise ValueError(f"{key}={items!r}: write a list with at least one entry")
    for item in items:
        if type(item) is not kind:
            raise ValueError(f"{key}: {item!r} is not of type {kind.__name__}: write one")
        if items.count(item) > 1:
            raise ValueError(f"{key}: {item!r} occurs more than once: leave one out")
    return items


def _check_choice(key: str, value: Any, choices: Collection[str], advice: str = "") -> None:
    if value not in choices:
        known = ", ".join(choices)
        raise ValueError(f"{key}: unknown {value!r}; pass one of {known}{advice}.{did_you_mean(value, choices)}")


def _check_known(what: str, names: Collection[str], known: Collection[str], place: str = "") -> None:
    for name in names:
        if name not in known:
            listed = f"; known are {', '.join(known)}" if len(known) < 20 else ""
            raise ValueError(
                f"{f'{place}: ' if place else ''}unknown {what} {name!r}{listed}.{did_you_mean(name, known)}"
            )
