"""Looks at rows and losses without a trace in the random generators."""

from __future__ import annotations

import contextlib
import random
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
