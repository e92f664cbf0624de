"""
A lock on a run's output folder, so that two runs never write to one folder at the same time.

By hand: the locks of `filelock` stay with the forked workers of data loaders after a kill, and name no owner.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: Trainer does not push it to the Hub, because its pushes ignore `_*`.
LOCK_NAME = "_run.lock"

#: Folders that runs of this process hold. The lock below is one between processes.
_held: set[str] = set()


@contextlib.contextmanager
def run_lock(output_dir: str | os.PathLike[str]) -> Iterator[bool]:
    """
    Holds a folder for a `with` block. The lock ends with its process, however the process ends.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It is created if it does not exist.

    Yields:
        `bool`: Whether the folder is locked. A file system without locks gets a warning.

    Raises:
        ValueError: If another run holds the folder. The message gives that run's process.
    """
    folder = os.path.realpath(output_dir)
    path = Path(folder) / LOCK_NAME
    if folder in _held:
        raise ValueError(_refusal(folder, f"process {os.getpid()} (this one)"))
    try:
        file = _locked_file(path)
    except BlockingIOError:
        raise ValueError(_refusal(folder, _owner(path))) from None
    except OSError as error:
        logger.warning("%s cannot be locked (%s): start no other run in %s before this one ends", path, error, folder)
        file = None
    _held.add(folder)
    try:
        yield file is not None
    finally:
        _held.discard(folder)
        if file is not None:
            path.unlink(missing_ok=True)
            os.close(file)


def _locked_file(path: Path) -> int:
    """A descriptor of the lock file, which this process has locked and in which it has written its name."""
    if fcntl is None:
        raise OSError("this system has no file locks")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # A record lock and not `flock`, which forked workers of data loaders would keep after a kill.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(file, path):
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {_now()}".encode())
                return file
            os.close(file)  # the run that held it has just ended and removed the file
        except OSError as error:
            os.close(file)
            if isinstance(error, PermissionError):  # how some systems say that another process has the lock
                raise BlockingIOError from error
            raise


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    except OSError:
        return "another process"


def _refusal(folder: str, owner: str) -> str:
    return (
        f"another run is writing to {folder}: {owner}. Wait until it ends, stop it, or pass another `output_dir` "
        "(`resume_from_checkpoint` may still name a checkpoint of that folder)"
    )
