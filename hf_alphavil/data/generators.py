"""Looks at rows and losses without a trace in the random generators, or with the same draws every time."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch


@contextlib.contextmanager
def unchanged_generators(devices: Sequence[int] | None = None) -> Iterator[None]:
    """
    Restores the random generators of Python, NumPy and torch after a `with` block: rows and collators may draw.

    Args:
        devices (`Sequence[int]`, *optional*): Accelerators whose generators are restored too. Defaults to all.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def repeated_draws(rows: Sequence[int]) -> Iterator[None]:
    """
    Makes datasets and collators that draw from the CPU's global generators draw the same for the same rows, and
    restores the generators after a `with` block.

    Args:
        rows (`Sequence[int]`): Indices of the rows.
    """
    seed = zlib.crc32(np.asarray(rows, dtype=np.int64).tobytes())
    with unchanged_generators(devices=()):
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        yield
