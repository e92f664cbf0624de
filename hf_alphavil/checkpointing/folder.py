"""Atomic checkpoint folders: written to a staging folder, given a manifest, then moved into place."""

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
#: Staging folder, in which a checkpoint is written before it is moved into place. Trainer does not mistake it for a
#: checkpoint, and does not push it to the Hub, because its pushes ignore `_*`.
STAGING_NAME = "_incomplete"

_REPLACED = "replaced-"
_READ_BYTES = 1 << 22


def write_manifest(folder: str | os.PathLike[str]) -> None:
    """
    Writes the size and checksum of every file of a complete checkpoint into its `manifest.json`.

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
    Moves a complete checkpoint to its final path. A checkpoint of an earlier run at that path is replaced.

    Args:
        folder (`str` or `os.PathLike`):
            The checkpoint in the staging folder, with its manifest. It must be on the same file system as `place`, so
            that the move is a rename.
        place (`str` or `os.PathLike`): The final path.
    """
    folder, place = Path(folder), Path(place)
    replaced = folder.with_name(_REPLACED + place.name)
    if place.exists():
        place.rename(replaced)
    folder.rename(place)
    shutil.rmtree(replaced, ignore_errors=True)


def restore_replaced(output_dir: str | os.PathLike[str]) -> None:
    """
    Restores a checkpoint that [`move_into_place`] was replacing when the run was killed.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    for replaced in (Path(output_dir) / STAGING_NAME).glob(f"{_REPLACED}*"):
        place = Path(output_dir) / replaced.name.removeprefix(_REPLACED)
        if not place.exists():
            replaced.rename(place)


def clear_staging(output_dir: str | os.PathLike[str]) -> None:
    """
    Removes the staging folder, if there is one, with whatever a killed run or a failed save left in it.

    A checkpoint that was being replaced is restored first.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    restore_replaced(output_dir)
    shutil.rmtree(Path(output_dir) / STAGING_NAME, ignore_errors=True)


def find_corruption(folder: str | os.PathLike[str]) -> str | None:
    """
    Checks every file of a checkpoint against its manifest. All files are read in full.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint folder.

    Returns:
        `str`, *optional*: A message with the first corrupt file and what is wrong with it, or `None` for an intact
        checkpoint. Files that are not in the manifest, such as those that a user's callback added later, are
        ignored.
    """
    try:
        return _find_corruption(Path(folder))
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error})"


def _find_corruption(folder: Path) -> str | None:
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return f"{manifest} is missing: the checkpoint is incomplete, or MultitaskTrainer did not write it"
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
            return f"{path} has changed since it was written (its checksum differs)"
    return None


def checkpoints(output_dir: str | os.PathLike[str]) -> list[Path]:
    """
    Lists the checkpoint folders of a run, latest first.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    prefix = f"{PREFIX_CHECKPOINT_DIR}-"
    folders = [path for path in Path(output_dir).glob(f"{prefix}*") if path.is_dir()]
    steps = {path: path.name.removeprefix(prefix) for path in folders}
    return sorted((path for path in folders if steps[path].isdecimal()), key=lambda path: -int(steps[path]))


def intact_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Yields the intact checkpoints of a run, latest first. Skips corrupt ones with a warning.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    for folder in checkpoints(output_dir):
        problem = find_corruption(folder)
        if problem is None:
            yield folder
        else:
            logger.warning("skipped the corrupt checkpoint %s: %s", folder, problem)


def resumable_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Yields the intact checkpoints that a run can resume from, latest first. Skips those that hold only the model.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    for folder in intact_checkpoints(output_dir):
        if (folder / STATE_NAME).is_file():
            yield folder
        else:
            logger.warning("skipped the checkpoint %s, which holds only the model (save_only_model)", folder)


def find_checkpoint(wanted: str | bool, output_dir: str | os.PathLike[str] | None) -> str | None:
    """
    Finds the checkpoint to resume from and checks its files.

    Args:
        wanted (`str` or `bool`):
            A folder; `True` for the latest checkpoint in `output_dir`; or `"auto"` for the latest intact one that a
            run can resume from.
        output_dir (`str` or `os.PathLike`, *optional*): The run's output folder. Defaults to the current folder.

    Returns:
        `str`, *optional*: The folder, or `None` if `"auto"` finds none.

    Raises:
        ValueError: If there is no such folder, or if the checkpoint is corrupt. The message gives the corrupt file and
            what is wrong with it.
    """
    output_dir = output_dir or "."
    restore_replaced(output_dir)
    if wanted == "auto":
        found = next(resumable_checkpoints(output_dir), None)
        return None if found is None else str(found)
    folder = next(iter(checkpoints(output_dir)), None) if wanted is True else Path(str(wanted))
    if folder is None or not folder.is_dir():
        raise ValueError(
            f"there is no checkpoint {folder or f'in {output_dir}'}: pass the path of a checkpoint, or 'auto', which "
            "starts from scratch if there is none"
        )
    problem = find_corruption(folder)
    if problem is not None:
        raise ValueError(
            f"{folder} is a corrupt checkpoint: {problem}. Resume from another one, or pass 'auto' for the latest "
            "intact one"
        )
    return str(folder)


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
