"""
Writes files atomically.

By hand: fsspec's transactions write to the system's temporary folder, from which a move may be a copy.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def atomic_write(path: Path, content: str | bytes) -> None:
    """
    Writes a file atomically: it writes a temporary file and moves that into place.

    A reader never sees half a file. If writing fails, the old file stays.

    Args:
        path (`Path`): The file to write. Its folder is created if missing.
        content (`str` or `bytes`): The content. Text is encoded as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates files that only their owner can read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
