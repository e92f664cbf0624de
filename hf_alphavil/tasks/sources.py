"""The sources of a task's rows: the keys `hub` and `files` of its YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..kinds.yaml_keys import FLAG, TEXT, TEXT_MAP, Check, is_a, is_list_of, is_map_of, one_of, yaml_key
from .readers import READERS
from .task import SPLITS

_SPLIT_MAP: Check = (
    lambda value: is_map_of(is_a(str))(value) and set(value) <= set(SPLITS),
    f"a mapping from {', '.join(SPLITS)} to one name each",
)
_HEADERS: Check = (
    lambda value: is_map_of(is_list_of(str))(value) and set(value) <= set(SPLITS),
    f"a mapping from {', '.join(SPLITS)} to lists of column names",
)


@dataclass(frozen=True)
class HubSource:
    """
    A dataset on the Hub, or anything else that `datasets.load_dataset` takes.

    Args:
        path (`str`): The dataset's full id, or a folder.
        name (`str`, *optional*): The dataset's configuration.
        splits (`dict[str, str]`, *optional*):
            The dataset's split for each of ours. Defaults to equal names.
        columns (`dict[str, str]`, *optional*):
            The dataset's column for each of ours, if they differ.
    """

    path: str = field(
        metadata=yaml_key(TEXT, "the dataset's id, or anything that `datasets.load_dataset` takes", required=True)
    )
    name: str | None = field(default=None, metadata=yaml_key(TEXT, "the dataset's configuration"))
    splits: Mapping[str, str] = field(
        default_factory=dict,
        metadata=yaml_key(_SPLIT_MAP, "the dataset's split for each of ours. Default: equal names"),
    )
    columns: Mapping[str, str] = field(
        default_factory=dict,
        metadata=yaml_key(TEXT_MAP, "the dataset's column for each of ours, with dots into nested columns"),
    )


@dataclass(frozen=True)
class FileSource:
    """
    The files of one task: of a benchmark's official archive, or the user's.

    Args:
        splits (`dict[str, str]`):
            File name by split; in a user's task relative to its YAML file.
        columns (`dict[str, str]`, *optional*):
            The file's column for each of ours, with dots into nested objects. Columns that are not listed here have
            equal names. Without `idx`, `idx` is the row's number.
        benchmark (`str`, *optional*):
            `"glue"` or `"superglue"`: the folder that may contain the task's.
        folder (`str`, *optional*):
            The official folder of a benchmark's task, where its name is not the task's.
        format (`str`, *optional*):
            A key of `READERS`. Defaults to the suffix's.
        labels (`tuple`, *optional*):
            What the files write for each label id, in id order. Defaults to the labels' names, or their ids.
        label_separator (`str`, *optional*, defaults to `","`):
            What separates several labels in one string.
        headers (`dict[str, list[str]]`, *optional*):
            The column names of the splits whose files have no header line.
        skip_short_rows (`bool`, *optional*, defaults to `False`):
            Whether rows with too few fields are left out with a warning (TSV).
    """

    splits: Mapping[str, str] = field(
        metadata=yaml_key(
            _SPLIT_MAP, "the path of the file of each split: `train`, `validation`, `test`", required=True
        )
    )
    columns: Mapping[str, str] = field(
        default_factory=dict,
        metadata=yaml_key(TEXT_MAP, "the file's column for each of ours, with dots into nested JSON"),
    )
    benchmark: str | None = field(default=None, metadata=yaml_key(TEXT, "the benchmark's folder", packaged_only=True))
    folder: str | None = field(default=None, metadata=yaml_key(TEXT, "the task's official folder", packaged_only=True))
    format: str | None = field(
        default=None,
        metadata=yaml_key(
            one_of(READERS),
            "`csv` (with commas), `tsv`, `json`, `jsonl`, `parquet` or `text` (by default, the suffix decides). CoNLL "
            "files, archives and lists of files are not read",
        ),
    )
    labels: tuple[str | int | bool, ...] | None = field(
        default=None,
        metadata=yaml_key(
            (is_list_of(str, int, bool, float), "a list of what the files write, in the order of `labels`"),
            "what the files write for each of `labels`, in the same order, if it is neither the name nor the id",
        ),
    )
    label_separator: str = field(
        default=",",
        metadata=yaml_key(
            ((lambda value: is_a(str)(value) and value != ""), "a string"),
            "the separator of several labels in one string (`,`)",
        ),
    )
    headers: Mapping[str, list[str]] = field(
        default_factory=dict, metadata=yaml_key(_HEADERS, "column names by split, for files without a header line")
    )
    skip_short_rows: bool = field(
        default=False, metadata=yaml_key(FLAG, "whether rows with too few fields are left out", packaged_only=True)
    )
