"""Files that a checkpoint shares with the one before it, because what they hold has not changed since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Sequence
from pathlib import Path


class SharedFiles:
    """
    Links files of a run's next checkpoint to those of its last one.

    Most of a run's state changes once per epoch: θ0, finished deltas and the stored optimizer states. Hard links
    let checkpoints share the files of what has not changed, and each checkpoint is still a complete folder.
    """

    def __init__(self) -> None:
        #: The folder of the run's last checkpoint.
        self.last: Path | None = None
        self._files: dict[tuple[str, Hashable], Sequence[str]] = {}
        self._next: dict[tuple[str, Hashable], Sequence[str]] = {}

    def begin(self) -> None:
        """Begins a checkpoint."""
        self._next = {}

    def link(self, part: str, version: Hashable, folder: Path) -> bool:
        """
        Links the files of a part, if the last checkpoint has them.

        Args:
            part (`str`): The part's name.
            version (`Hashable`): What its content follows from: equal versions have equal content.
            folder (`Path`): The folder of the new checkpoint.

        Returns:
            `bool`: Whether all files are there now. Otherwise the caller writes them, and tells [`written`].
        """
        files = self._files.get((part, version))
        if files is None or self.last is None:
            return False
        try:
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(self.last / name, folder / name)
        except OSError:  # the last checkpoint is gone, or the file system has no links
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    (folder / name).unlink()
            return False
        self.written(part, version, files)
        return True

    def written(self, part: str, version: Hashable, files: Sequence[str]) -> None:
        """
        Tells which files of the new checkpoint hold a part.

        Args:
            part (`str`): The part's name.
            version (`Hashable`): As in [`link`].
            files (`Sequence[str]`): The files' names.
        """
        self._next[part, version] = files

    def complete(self, folder: Path) -> None:
        """
        Ends a checkpoint.

        Args:
            folder (`Path`): Where it is now.
        """
        self.last, self._files = folder, self._next
