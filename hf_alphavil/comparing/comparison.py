"""A comparison: methods × targets × seeds on the same data, and its single runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MethodEntry:
    """
    A method of the comparison: one row of its tables.

    Args:
        name (`str`): Unique name in tables.
        method (`str`): A name in `METHODS`.
        settings (`dict[str, Any]`, *optional*): Training arguments that override those of the comparison.
    """

    name: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """
    The data and the encoder that all runs of a comparison share.

    Args:
        tasks (`list[str]`): The tasks. For each target, all others are auxiliaries.
        suite (`str`, *optional*, defaults to `"glue"`):
            `"glue"` (GLUE, SuperGLUE and the user's own tasks) or `"demo"` (generated tasks).
        data_dir (`str`, *optional*): Folder of the official files, for `glue`. By default the Hub's data are used.
        task_config (`str`, *optional*), include_path (`str`, *optional*):
            YAML files, or folders of them, that define the user's own tasks, for `glue`.
        model_name_or_path (`str`, *optional*): Encoder by id or folder, for `glue`. The suite `demo` has its own.
        data_seed (`int`, *optional*, defaults to 0): Seed of the split, of the order of rows and of row limits.
        max_train_samples (`int`, *optional*): Maximum number of training rows per task, before the target is split.
        selection_fraction (`float`, *optional*, defaults to 0.15):
            Share of the target's training rows that chooses the reported epoch.
        meta_fraction (`float`, *optional*, defaults to 0.15):
            Share of the remaining rows on which methods fit α or similar weights.
    """

    tasks: list[str]
    suite: str = "glue"
    data_dir: str | None = None
    task_config: str | None = None
    include_path: str | None = None
    model_name_or_path: str | None = None
    data_seed: int = 0
    max_train_samples: int | None = None
    selection_fraction: float = 0.15
    meta_fraction: float = 0.15

    @property
    def own_tasks(self) -> list[str]:
        """`list[str]`: The YAML files, or folders of them, that define the user's own tasks."""
        return [path for path in (self.task_config, self.include_path) if path is not None]


@dataclass(frozen=True)
class Run:
    """
    One run: a method, a target and a seed, with all auxiliaries or without one of them.

    Args:
        name (`str`): Name of the [`MethodEntry`].
        method (`str`): A name in `METHODS`.
        target (`str`): The target task.
        seed (`int`): Seed of everything random in training, such as new heads and dropout, except the order of rows.
        settings (`dict[str, Any]`): Training arguments.
        data (`Data`): Data and encoder.
        without (`str`, *optional*): The auxiliary that is left out.
    """

    name: str
    method: str
    target: str
    seed: int
    settings: dict[str, Any]
    data: Data
    without: str | None = None


@dataclass(frozen=True)
class Comparison:
    """
    Methods × targets × seeds.

    Args:
        methods (`list[MethodEntry]`): The methods.
        targets (`list[str]`): The target tasks.
        seeds (`list[int]`): The seeds.
        baseline (`str`): Name of the method with which the others are compared.
        settings (`dict[str, Any]`): Training arguments of all methods.
        data (`Data`): Data and encoder of all runs.
        leave_one_out (`list[str]`, *optional*): Names of methods that also train without each auxiliary.
    """

    methods: list[MethodEntry]
    targets: list[str]
    seeds: list[int]
    baseline: str
    settings: dict[str, Any]
    data: Data
    leave_one_out: list[str] = field(default_factory=list)

    def auxiliaries(self, target: str) -> list[str]:
        """The auxiliaries of a target."""
        return [task for task in self.data.tasks if task != target]

    def runs(self) -> list[Run]:
        """All runs. Methods vary fastest, so that early results are comparable. Those without an auxiliary follow."""
        return [
            Run(entry.name, entry.method, target, seed, self.settings | entry.settings, self.data, without)
            for seed in self.seeds
            for target in self.targets
            for without in (None, *self.auxiliaries(target))
            for entry in self.methods
            if without is None or entry.name in self.leave_one_out
        ]
