"""From names to tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .definition import get_definition
from .hub import load_from_hub
from .official_files import load_official_files
from .task import Task


def load_tasks(
    names: str | Iterable[str],
    data_dir: str | Path | None = None,
    revision: str | Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> dict[str, Task]:
    """
    Loads benchmark tasks with all their splits.

    Args:
        names (`str` or `Iterable[str]`):
            Names that [`available_tasks`] lists, in any case and in the benchmark's own spelling too, as `"STS-B"`.
        data_dir (`str` or `Path`, *optional*):
            The folder of the official GLUE or SuperGLUE files. Without it the rows come from the Hub.
        revision (`str` or `dict[str, str]`, *optional*):
            The Hub revision to load, or one for each dataset id.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps what it downloads.
        token (`str` or `bool`, *optional*):
            The Hub's token.

    Returns:
        `dict[str, Task]`: the tasks by name, in the order of `names`.

    Raises:
        `ValueError`: for an unknown task.
        [`DataError`]: for data that cannot be used.

    Example:

    ```python
    >>> tasks = load_tasks(["rte", "CB"], data_dir="data")
    >>> tasks["cb"].labels
    ('entailment', 'contradiction', 'neutral')
    ```
    """
    definitions = [get_definition(name) for name in ([names] if isinstance(names, str) else names)]
    tasks = {}
    for definition in definitions:
        if data_dir is not None:
            splits = load_official_files(definition, data_dir)
        else:
            splits = load_from_hub(definition, revision, cache_dir, token)
        tasks[definition.key] = Task(name=definition.key, **definition.settings, **splits)
    return tasks
