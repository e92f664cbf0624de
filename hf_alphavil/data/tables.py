"""Tables of Arrow: which datasets have one, and the lengths of the lists in its columns."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_of_library(dataset: Any) -> bool:
    """
    Whether a dataset is a `datasets.Dataset`. The library is not imported: without it, there is none.

    Args:
        dataset (`Dataset`): Any dataset.
    """
    library = sys.modules.get("datasets")
    return library is not None and isinstance(dataset, library.Dataset)


def is_table(dataset: Any) -> bool:
    """
    Whether a dataset's rows are those of a table.

    Args:
        dataset (`Dataset`): Any dataset. A `datasets.Dataset` with a transform makes its rows.
    """
    return is_of_library(dataset) and dataset.format["type"] != "custom"


def is_list(kind: Any) -> bool:
    """
    Whether a type of Arrow is one of its lists.

    Args:
        kind (`pyarrow.DataType`): The type.
    """
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def list_lengths(array: Any) -> np.ndarray:
    """
    The length of every list, int64; 0 for a missing list.

    Args:
        array (`pyarrow.Array`): An array of lists.
    """
    from pyarrow import compute

    return compute.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
