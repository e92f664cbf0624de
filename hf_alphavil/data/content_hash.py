"""The content of a dataset as a short hash, equal in every process that reads the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Subset

from ..files.digest import Digest
from .generators import unchanged_generators
from .spread_rows import spread_rows
from .tables import is_list, is_table, list_lengths

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS_READ_TWICE = 4
_ROWS_AT_ONCE = 10_000


def content_hash(dataset: Any) -> str | None:
    """
    A hash of the rows of a dataset, in their order.

    Of a `datasets.Dataset` without a transform, all rows count. Of any other dataset, up to 10,000 rows are read.
    Reading does not change the state of the random generators.

    Args:
        dataset (`Dataset`): A map-style dataset.

    Returns:
        `str`, *optional*: The hash, or `None` if rows are random (two readings of a row differ) or cannot be read.
    """
    digest = Digest()
    digest.update(str(len(dataset)))
    if isinstance(dataset, Subset):
        inner = content_hash(dataset.dataset)
        if inner is None:
            return None
        digest.update(inner)
        digest.update(np.asarray(dataset.indices, dtype=np.int64).tobytes())
    elif is_table(dataset):
        _add_table(digest, dataset)
    elif not _add_rows(digest, dataset):
        return None
    return digest.hexdigest()


def value_hash(value: Any) -> str:
    """
    A hash of a value: a tensor, an array, a number, a text, or a list or dictionary of such.

    Args:
        value (`Any`): The value.
    """
    digest = Digest()
    _add_value(digest, value)
    return digest.hexdigest()


def _add_table(digest: Digest, dataset: Dataset) -> None:
    import pyarrow

    for table in dataset.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        for name in sorted(table.column_names):
            digest.update(name)
            column = table[name].combine_chunks()
            for array in column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]:
                _add_array(digest, array)


def _add_array(digest: Digest, array: Any) -> None:
    """Adds the values of an Arrow array, whatever its memory layout."""
    from pyarrow import types

    kind = array.type
    digest.update(str(kind))
    digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if is_list(kind):
        digest.update(list_lengths(array).tobytes())
        _add_array(digest, array.flatten())
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        values = array.fill_null(False if types.is_boolean(kind) else 0)
        digest.update(values.to_numpy(zero_copy_only=False).tobytes())
    else:
        _add_value(digest, array.to_pylist())


def _add_rows(digest: Digest, dataset: Any) -> bool:
    """Adds rows that are made one by one; returns whether they are equal whenever they are read."""
    with unchanged_generators(devices=[]):
        try:
            for place, index in enumerate(spread_rows(len(dataset))):
                once = Digest()
                _add_value(once, dataset[index])
                if place < _ROWS_READ_TWICE:
                    again = Digest()
                    _add_value(again, dataset[index])
                    if again.hexdigest() != once.hexdigest():
                        return False
                digest.update(once.hexdigest())
        except Exception:  # the run tells, if it reads the row
            return False
    return True


def _add_value(digest: Digest, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(str(key))
            _add_value(digest, value[key])
    elif isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}")
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype} {value.shape}")
        digest.update(value.tobytes())
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)}")
        if all(type(item) in (int, float, str, bool) for item in value):
            digest.update(repr(value))
        else:
            for item in value:
                _add_value(digest, item)
    elif isinstance(value, np.generic):  # before NumPy 2, its text lacks the type
        digest.update(f"{value.dtype} {value.item()!r}")
    elif value is None or isinstance(value, (int, float, str, bytes)):
        digest.update(repr(value))
    else:  # its text may hold an address
        digest.update(f"{type(value).__module__}.{type(value).__qualname__}")
