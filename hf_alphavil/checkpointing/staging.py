"""Staging: a checkpoint is written aside and then moved into place, so that it is complete or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

#: Folder of the staging folders, in which checkpoints are written before they are moved into place. Trainer does not
#: mistake it for a checkpoint, and does not push it to the Hub, because its pushes ignore `_*`.
STAGING_NAME = "_incomplete"

_REPLACED = "replaced-"


def new_staging_name() -> str:
    """`str`: The path of a run's staging folder below its output folder. No other run has the same."""
    return f"{STAGING_NAME}/{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"


def check_output_dir(output_dir: str | os.PathLike[str]) -> None:
    """
    Checks that checkpoints can be written to a folder.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.

    Raises:
        ValueError: If something that is not a folder has a name that checkpoints need, or if nothing can be written.
    """
    folder = Path(output_dir)
    needed = [folder / STAGING_NAME, *folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    for path in needed:
        is_ours = path.name == STAGING_NAME or path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-").isdecimal()
        if is_ours and os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
            kind = "a link" if path.is_symlink() else "not a folder"
            raise ValueError(
                f"{path} is {kind}, but checkpoints need this name for a folder: move it away, or pass another "
                "`output_dir`"
            )
    try:
        (folder / STAGING_NAME).mkdir(parents=True, exist_ok=True)
        probe = folder / STAGING_NAME / "probe"
        probe.mkdir(exist_ok=True)
        probe.rmdir()
        _remove_if_empty(folder / STAGING_NAME)
    except OSError as error:
        raise ValueError(
            f"checkpoints cannot be written to {folder} ({error}): pass another `output_dir`, or save_strategy='no'"
        ) from error


def move_into_place(folder: str | os.PathLike[str], place: str | os.PathLike[str]) -> None:
    """
    Moves a complete checkpoint to its final path. A checkpoint of an earlier run at that path is replaced.

    Everything is on the disk before the move, and the move before this function returns, so that a machine that loses
    its power leaves a complete checkpoint or none.

    Args:
        folder (`str` or `os.PathLike`):
            The checkpoint in the staging folder, with its manifest. It must be on the same file system as `place`, so
            that the move is a rename.
        place (`str` or `os.PathLike`): The final path.
    """
    folder, place = Path(folder), Path(place)
    with ThreadPoolExecutor(8) as threads:  # a disk flushes several files at once in the time of one
        list(threads.map(_flush, [*folder.rglob("*"), folder]))
    replaced = folder.with_name(_REPLACED + place.name)
    if place.exists():
        place.rename(replaced)
    folder.rename(place)
    _flush(place.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def move_files(source: Path, folder: Path) -> list[str]:
    """
    Moves all files of a folder into another one, and removes the folder.

    Args:
        source (`Path`): The folder.
        folder (`Path`): Where its files go.

    Returns:
        `list[str]`: The files, by their paths in the folder.
    """
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, folder / name)
    shutil.rmtree(source)
    return names


def restore_replaced(output_dir: str | os.PathLike[str], name: str = STAGING_NAME) -> None:
    """
    Restores a checkpoint that [`move_into_place`] was replacing when the run was killed.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
        name (`str`, *optional*, defaults to `"_incomplete"`):
            The path of one run's staging folder. By default, those of all runs are searched.
    """
    staging = Path(output_dir) / name
    for replaced in (*staging.glob(f"{_REPLACED}*"), *staging.glob(f"*/{_REPLACED}*")):
        place = Path(output_dir) / replaced.name.removeprefix(_REPLACED)
        if not place.exists():
            replaced.rename(place)


def clear_staging(output_dir: str | os.PathLike[str], name: str = STAGING_NAME) -> None:
    """
    Removes a staging folder, if there is one, with whatever a killed run or a failed save left in it.

    A checkpoint that was being replaced is restored first.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
        name (`str`, *optional*, defaults to `"_incomplete"`):
            The path of one run's staging folder. By default, those of all runs are removed.
    """
    restore_replaced(output_dir, name)
    shutil.rmtree(Path(output_dir) / name, ignore_errors=True)
    _remove_if_empty(Path(output_dir) / STAGING_NAME)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _flush(path: Path) -> None:
    """Writes a file or a folder from the system's memory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)
