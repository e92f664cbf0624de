"""Which rows are read of a dataset whose rows are made one by one."""

from __future__ import annotations

#: The most rows that are read before training.
MAX_ROWS_READ = 10_000


def spread_rows(num_rows: int) -> range:
    """
    Up to 10,000 row numbers, spread evenly.

    Args:
        num_rows (`int`): The number of rows.
    """
    return range(0, num_rows, max(1, -(-num_rows // MAX_ROWS_READ)))
