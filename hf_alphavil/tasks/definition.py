"""A task before its rows are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..kinds import TaskSpec
from ..kinds.yaml_keys import SHARE, TEXT, TEXTS, is_a, is_map_of, one_of, yaml_key
from .prepare import PREPARE
from .sources import FileSource, HubSource
from .yaml_file import YamlFile


@dataclass(frozen=True)
class TaskDefinition:
    """
    A task before its rows are loaded: one YAML file, or one entry of it.

    Args:
        key (`str`):
            The task's name in this package, such as `"stsb"`.
        name (`str`):
            The benchmark's own spelling, such as `"STS-B"`: the official folder's name.
        spec (`TaskSpec`):
            The task's settings. Its labels are `None` where the rows name them.
        hub (`HubSource`, *optional*), files (`FileSource`, *optional*):
            Where the rows come from: a benchmark's from either, a user's from one.
        content (`str`):
            A hash of the definition: part of the key of everything cached.
        prepare (`str`, *optional*):
            A key of `PREPARE`: the function that turns a row of the source into rows of the task.
        validation_fraction (`float`, *optional*):
            The share of the training rows that becomes the validation split if there is none.
        evaluated_with (`tuple[str, ...]`):
            Evaluation-only tasks that are loaded with it.
        head_tasks (`tuple[str, ...]`):
            The tasks whose heads may evaluate this evaluation-only one.
        sizes (`dict[str, int]`):
            The official numbers of rows by split.
        source (`YamlFile`):
            The YAML file.
    """

    key: str
    name: str = field(metadata=yaml_key(TEXT, "the benchmark's spelling of the task's name"))
    spec: TaskSpec
    hub: HubSource | None = field(
        metadata=yaml_key(
            (is_a(dict), "a mapping with the key path"), "where the rows are on the Hub, by the keys below"
        )
    )
    files: FileSource | None = field(
        metadata=yaml_key(
            (is_a(dict), "a mapping with the key splits"), "which local files hold the rows, by the keys below"
        )
    )
    content: str
    prepare: str | None = field(
        metadata=yaml_key(one_of(PREPARE), "a function that marks words or lists candidates", packaged_only=True)
    )
    validation_fraction: float | None = field(
        metadata=yaml_key(
            SHARE,
            "the share of training rows that becomes the validation split if there is none. With "
            "`group_column`, whole groups are held out, as near to the share as possible",
        )
    )
    evaluated_with: tuple[str, ...] = field(
        metadata=yaml_key(TEXTS, "evaluation-only tasks that are loaded with this one")
    )
    head_tasks: tuple[str, ...]
    sizes: Mapping[str, int] = field(
        metadata=yaml_key(
            (is_map_of(is_a(int)), "a mapping from splits to numbers of rows"),
            "the official number of rows of each split",
        )
    )
    source: YamlFile

    @property
    def benchmark(self) -> str | None:
        """`str`, *optional*: `"glue"`, `"superglue"` or, for a user's task, `None`."""
        return self.files.benchmark if self.files is not None else None
