"""Checkpoint folders that are whole or not there: written aside, sealed with checksums, moved into place."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import xxhash
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .run_state import STATE_NAME

logger = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"
#: Where a checkpoint is written before it is moved. No checkpoint to Trainer, and left out of its pushes as `_*` is.
STAGING_NAME = "_incomplete"

_REPLACED = "replaced-"
_READ_BYTES = 1 << 22


def write_manifest(folder: str | os.PathLike[str]) -> None:
    """
    Writes the size and checksum of every file of a finished checkpoint into its `manifest.json`.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint folder.
    """
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "xxh3_128": _checksum(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }
    (folder / MANIFEST_NAME).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def move_into_place(folder: str | os.PathLike[str], place: str | os.PathLike[str]) -> None:
    """
    Renames a sealed checkpoint to its place; one of an earlier run that stands there is replaced.

    Args:
        folder (`str` or `os.PathLike`): The sealed folder, on the same file system as `place`.
        place (`str` or `os.PathLike`): The name under which the checkpoint is found.
    """
    folder, place = Path(folder), Path(place)
    replaced = folder.with_name(_REPLACED + place.name)
    if place.exists():
        place.rename(replaced)
    folder.rename(place)
    shutil.rmtree(replaced, ignore_errors=True)


def restore_replaced(output_dir: str | os.PathLike[str]) -> None:
    """
    Puts a checkpoint back that was about to be replaced when the run was killed.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder; it may not exist.
    """
    for replaced in (Path(output_dir) / STAGING_NAME).glob(f"{_REPLACED}*"):
        place = Path(output_dir) / replaced.name.removeprefix(_REPLACED)
        if not place.exists():
            replaced.rename(place)


def clear_staging(output_dir: str | os.PathLike[str]) -> None:
    """
    Removes what lies aside: of a killed run, of a checkpoint that could not be written, or nothing.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder; it may not exist.
    """
    restore_replaced(output_dir)
    shutil.rmtree(Path(output_dir) / STAGING_NAME, ignore_errors=True)


def find_corruption(folder: str | os.PathLike[str]) -> str | None:
    """
    What is wrong with a checkpoint's files; reads all of them.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint folder.

    Returns:
        `str`, *optional*: The damaged file and what is wrong with it, or `None` for a whole checkpoint. Files that
        were added later, by a user's callback say, do not count.
    """
    try:
        return _find_corruption(Path(folder))
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error})"


def _find_corruption(folder: Path) -> str | None:
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return f"{manifest} is missing: the checkpoint was not finished, or was not written by MultitaskTrainer"
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        expected = {name: (int(entry["bytes"]), str(entry["xxh3_128"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{manifest} cannot be read"
    for name, (size, checksum) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} has {path.stat().st_size} bytes instead of {size}"
        if _checksum(path) != checksum:
            return f"{path} has changed since it was written (checksum)"
    return None


def checkpoints(output_dir: str | os.PathLike[str]) -> list[Path]:
    """
    The checkpoint folders of a run, the last step first.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder; it may not exist.
    """
    prefix = f"{PREFIX_CHECKPOINT_DIR}-"
    folders = [path for path in Path(output_dir).glob(f"{prefix}*") if path.is_dir()]
    steps = {path: path.name.removeprefix(prefix) for path in folders}
    return sorted((path for path in folders if steps[path].isdecimal()), key=lambda path: -int(steps[path]))


def whole_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    The checkpoints of a run that are whole, the last step first; a damaged one is passed over with a warning.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder; it may not exist.
    """
    for folder in checkpoints(output_dir):
        problem = find_corruption(folder)
        if problem is None:
            yield folder
        else:
            logger.warning("passed over the damaged checkpoint %s: %s", folder, problem)


def resumable_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    The whole checkpoints of a run from which it can go on: those that hold more than the model.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder; it may not exist.
    """
    for folder in whole_checkpoints(output_dir):
        if (folder / STATE_NAME).is_file():
            yield folder
        else:
            logger.warning("passed over %s, which holds the model alone (save_only_model)", folder)


def find_checkpoint(wanted: str | bool, output_dir: str | os.PathLike[str] | None) -> str | None:
    """
    The checkpoint that a run is to resume from, its files checked.

    Args:
        wanted (`str` or `bool`):
            A folder, `True` for the last checkpoint of `output_dir`, or `"auto"` for the last one there that is whole.
        output_dir (`str` or `os.PathLike`, *optional*): The run's output folder.

    Returns:
        `str`, *optional*: The folder; `None` where `"auto"` finds none.

    Raises:
        ValueError: If there is no such folder, or it is damaged: the file and what is wrong with it are named.
    """
    output_dir = output_dir or "."
    restore_replaced(output_dir)
    if wanted == "auto":
        found = next(resumable_checkpoints(output_dir), None)
        return None if found is None else str(found)
    folder = next(iter(checkpoints(output_dir)), None) if wanted is True else Path(str(wanted))
    if folder is None or not folder.is_dir():
        raise ValueError(
            f"there is no checkpoint {folder or f'in {output_dir}'}: pass the folder of one, or 'auto' to start anew "
            "where there is none"
        )
    problem = find_corruption(folder)
    if problem is not None:
        raise ValueError(
            f"{folder} is a damaged checkpoint: {problem}. Resume from another one, or pass 'auto' for the last one "
            "that is whole"
        )
    return str(folder)


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
