"""Seeds that depend only on names and numbers, so that every rank and every resumed run derives the same seeds."""

from __future__ import annotations

import zlib


def derive_seed(*parts: object) -> int:
    """
    Derives a 32-bit seed from a sequence of names and numbers.

    Args:
        parts (`object`): What identifies the random stream, for example `(seed, epoch, "rte", "rows")`.

    Returns:
        `int`: The CRC-32 of the parts joined by `:`. It is stable across processes, platforms and Python versions.
    """
    return zlib.crc32(":".join(str(part) for part in parts).encode("utf-8"))
