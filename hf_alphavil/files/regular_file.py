"""Reads whole files, but never a device or a pipe, which may have no end."""

from __future__ import annotations

import stat
from pathlib import Path


def read_regular_file(path: Path, max_bytes: int | None = None) -> bytes:
    """
    Reads a file.

    Args:
        path (`Path`): The file, or a link to it.
        max_bytes (`int`, *optional*): Size above which the file is refused, unread. By default, there is no limit.

    Returns:
        `bytes`: The content.

    Raises:
        OSError: If the file is missing or unreadable.
        ValueError: If the path is not a regular file, or the file is too large. The message says what it is.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("is a folder, not a file.")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("is a device, a pipe or a socket, not a regular file.")
    if max_bytes is not None and found.st_size > max_bytes:
        raise ValueError(f"has {found.st_size} bytes, and at most {max_bytes} are read.")
    return path.read_bytes()
