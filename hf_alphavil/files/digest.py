"""
Hashes of content, equal on every machine.

By hand: the `Hasher` of `datasets` hashes pickles, which differ between versions of Python and of libraries.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

#: As much as a processor's cache holds.
_READ_BYTES = 1 << 18


class Digest:
    """
    A hash of a sequence of parts.

    Args:
        parts (`str` or `bytes`): The first parts.
    """

    def __init__(self, *parts: str | bytes) -> None:
        self._hash = hashlib.sha256()
        for part in parts:
            self.update(part)

    def update(self, part: str | bytes) -> None:
        """
        Adds a part.

        Args:
            part (`str` or `bytes`): The part.
        """
        content = part.encode() if isinstance(part, str) else part
        self._hash.update(len(content).to_bytes(8, "little"))  # so that ("a", "bc") and ("ab", "c") differ
        self._hash.update(content)

    def hexdigest(self) -> str:
        """`str`: The hash as 32 hexadecimal digits."""
        return self._hash.hexdigest()[:32]


def file_checksum(file: Path) -> str:
    """
    The CRC-32 checksum of a file, which shows damage; 8 hexadecimal digits.

    Args:
        file (`Path`): The file.
    """
    checksum, block = 0, memoryview(bytearray(_READ_BYTES))
    with file.open("rb", buffering=0) as content:
        while count := content.readinto(block):
            checksum = zlib.crc32(block[:count], checksum)
    return f"{checksum:08x}"
