"""Tables of Arrow: which datasets have one, and the lengths of the lists in its columns."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Types of Arrow's lists.
LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)


def is_table(dataset: Any) -> bool:
    """
    Whether a dataset's rows are those of a table.

    Args:
        dataset (`Dataset`): Any dataset. A `datasets.Dataset` with a transform makes its rows.
    """
    return isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"


def list_lengths(array: Any) -> np.ndarray:
    """
    The length of every list, int64; 0 for a missing list.

    Args:
        array (`pyarrow.Array`): An array of lists.
    """
    return pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
