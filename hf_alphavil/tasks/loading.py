"""Loads tasks by name."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kinds import kind_of
from .definition import TaskDefinition
from .definition_reader import read_definitions
from .errors import DataError, Report, raise_error, require_package
from .hub import load_from_hub
from .label_warnings import rare_label_warnings
from .labels import class_names
from .local_files import MissingFilesError, load_files
from .registry import YAML_SUFFIXES, get_definition, own_definitions
from .task import SPLITS, Task
from .validation_split import hold_out_validation

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


def load_tasks(
    names: str | Iterable[str],
    data_dir: str | Path | None = None,
    revision: str | Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
    include_path: Any = None,
    splits: Collection[str] = SPLITS,
) -> dict[str, Task]:
    """
    Loads tasks of the benchmarks and the user's.

    Args:
        names (`str` or `Iterable[str]`):
            Names that [`available_tasks`] lists, a benchmark's in any case and in its spelling too, as `"STS-B"`; or
            YAML files (`.yaml`, `.yml`), whose tasks are all loaded (docs/tasks.md).
        data_dir (`str` or `Path`, *optional*):
            The folder of the official GLUE or SuperGLUE files. Without it the rows come from the Hub.
        revision (`str` or `dict[str, str]`, *optional*):
            The Hub revision to load, or one for each dataset id.
        cache_dir (`str`, *optional*):
            The folder in which `datasets` keeps its downloads.
        token (`str` or `bool`, *optional*):
            The Hub's token.
        include_path (`str`, `Path` or a list of them, *optional*):
            YAML files, or folders of them, that define the user's tasks among `names`.
        splits (`Collection[str]`, *optional*, defaults to all three):
            The splits to load.

    Returns:
        `dict[str, Task]`: The tasks by name, in the order of `names`, followed by the evaluation-only sets that belong
        to them (`"mnli"` brings `"mnli_mismatched"`).

    Raises:
        ValueError: If a task is unknown.
        DataError: If a definition is faulty or data cannot be used.
        ImportError: If `datasets` is not installed.

    Example:

    ```python
    >>> tasks = load_tasks(["rte", "CB"], data_dir="data")
    >>> tasks["cb"].labels
    ('entailment', 'contradiction', 'neutral')
    >>> tasks = load_tasks(["tickets", "rte"], data_dir="data", include_path="tasks.yaml")
    ```
    """
    require_package("datasets", "load_tasks")
    own = own_definitions(include_path)
    definitions: dict[str, TaskDefinition] = {}
    for name in [names] if isinstance(names, (str, Path)) else names:
        if str(name).endswith(YAML_SUFFIXES):
            for key, definition in read_definitions(Path(name).expanduser().resolve()).items():
                other = (own | definitions).get(key, definition).source.file
                if other != definition.source.file:
                    raise definition.source.fault(f"the task {key!r} is defined in {other} too; rename one.", key)
                definitions[key] = definition
        else:
            definition = get_definition(name, own)
            definitions[definition.key] = definition
    along = [
        get_definition(key, own | definitions)
        for definition in definitions.values()
        for key in definition.evaluated_with
    ]
    extra = {definition.key: definition for definition in along if definition.key not in definitions}
    tasks = {}
    for key, definition in (definitions | extra).items():
        try:
            rows = load_splits(definition, data_dir, splits, revision, cache_dir, token)
        except MissingFilesError as error:
            if key not in extra:
                raise
            logger.warning("%s is not evaluated: %s", key, error)
            continue
        # Several heads may be able to score it. The head of the first such task in `names` does, which may be the
        # target.
        heads = [name for name in definitions if name in definition.head_tasks] or definition.head_tasks
        tasks[key] = make_task(definition, rows, head_task=heads[0] if heads else None)
        for warning in rare_label_warnings(definition, tasks[key]):
            logger.warning("Task %r: %s.", key, warning)
    return tasks


def load_splits(
    definition: TaskDefinition,
    data_dir: str | Path | None = None,
    splits: Collection[str] = SPLITS,
    revision: str | Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
    report: Report = raise_error,
) -> dict[str, Dataset]:
    """
    Loads the rows of one task, from files if there are any. See [`load_tasks`] for the arguments and errors.

    Args:
        report (`Callable`, *optional*):
            Called with the error of every faulty row. Raises it by default.
    """
    is_own, fraction = definition.benchmark is None, definition.validation_fraction
    # Whether validation rows are held out, and which, depends on the whole source, not on the splits that are loaded.
    needed = {*splits, "train", "validation"} if fraction is not None else splits
    if definition.files is not None and (is_own or data_dir is not None):
        rows = load_files(definition, data_dir, needed, report)
    else:
        rows = load_from_hub(definition, needed, revision, cache_dir, token, report)
    if fraction is not None and "train" in rows and "validation" not in rows:
        rows |= hold_out_validation(rows["train"], definition)
    return {split: rows[split] for split in rows if split in splits}


def make_task(definition: TaskDefinition, rows: Mapping[str, Dataset], head_task: str | None = None) -> Task:
    """
    Makes a task from its definition and rows.

    Raises:
        DataError: If settings do not fit together. The message gives the definition's file.
    """
    spec = replace(definition.spec, head_task=head_task)
    if (hub := definition.hub) is not None:
        spec = replace(spec, dataset=hub.path, dataset_config=hub.name)
    if kind_of(spec).has_classes:
        for dataset in rows.values():
            if spec.labels is None:
                spec = replace(spec, labels=class_names(dataset, spec.label_column))
    try:
        return Task.from_spec(spec, **rows)
    except DataError:
        raise
    except ValueError as error:
        raise definition.source.fault(f"{error}.", definition.key) from error
