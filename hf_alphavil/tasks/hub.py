"""Rows of a benchmark task from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping

from datasets import ClassLabel, Dataset, load_dataset

from .definition import TaskDefinition
from .errors import DataError


def load_from_hub(
    definition: TaskDefinition,
    revision: str | Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> dict[str, Dataset]:
    """
    Loads a task's rows by the full id of its dataset.

    Args:
        definition (`TaskDefinition`):
            The task.
        revision (`str` or `dict[str, str]`, *optional*):
            The commit, branch or tag to load; a dict gives one for each dataset id, as
            `{"nyu-mll/glue": "bcdcba7"}`.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps what it downloads.
        token (`str` or `bool`, *optional*):
            The Hub's token.

    Returns:
        `dict[str, Dataset]`: the rows by split.

    Raises:
        [`DataError`]: if the dataset cannot be loaded, or its labels are not the task's.
    """
    hub, labels = definition.hub, definition.settings.get("labels")
    if isinstance(revision, Mapping):
        revision = revision.get(hub.path)
    place = f"{hub.path} ({hub.name})"
    try:
        loaded = load_dataset(hub.path, hub.name, revision=revision, cache_dir=cache_dir, token=token)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"cannot be loaded from the Hub: {error}",
            place,
            advice="Without a network, pass the folder of the official files as data_dir.",
        ) from error
    splits = {}
    for split in definition.files.splits:
        if split not in loaded:
            raise DataError(f"has no split {split!r}, only {', '.join(loaded)}.", place)
        feature = loaded[split].features.get("label")
        if labels is not None and isinstance(feature, ClassLabel) and list(feature.names) != list(labels):
            raise DataError(
                f"its labels are {', '.join(feature.names)}, not {', '.join(labels)} in this order.",
                place,
                advice="Pass another revision.",
            )
        splits[split] = loaded[split]
    return splits
