"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def atomic_write(path: Path, content: str | bytes) -> None:
    """
    Writes a file aside and moves it into its place: a reader never meets half of it, and a failure leaves the old one.

    Args:
        path (`Path`): The file; its folder is made where it is missing.
        content (`str` or `bytes`): Its content; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file that only its owner may read.
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
