"""Checks, before a long run, that its results can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def check_can_write(folder: str | os.PathLike[str]) -> None:
    """
    Checks that files can be written to a folder, or to the one that would hold it. Nothing is left there.

    Args:
        folder (`str` or `os.PathLike`): The folder. It need not exist, but then it must be possible to create it.

    Raises:
        ValueError: If they cannot. The message gives the system's reason.
    """
    path = Path(os.path.abspath(folder))
    for place in (path, *path.parents):
        try:
            if not (place.exists() or place.is_symlink()):
                continue
            with tempfile.TemporaryFile(dir=place):
                return
        except OSError as error:
            raise ValueError(
                f"output_dir={str(folder)!r:.300} cannot be written ({error.strerror}): pass another"
            ) from error
