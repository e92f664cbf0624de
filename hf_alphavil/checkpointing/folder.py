"""Checkpoint folders: their manifest of format and checksums, those that a run can resume from, and rotation."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..files.digest import file_checksum
from .run_state import STATE_NAME
from .staging import restore_replaced

logger = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"
#: Version of the files of a checkpoint. It goes up with every change after which older code cannot read new
#: checkpoints, or newer code old ones.
FORMAT = 7
_OF_TRAINER = "a checkpoint of transformers' Trainer, not of MultitaskTrainer"


def write_manifest(folder: str | os.PathLike[str], last: str | os.PathLike[str] | None = None) -> None:
    """
    Writes the format version, and the size and checksum of every file of a complete checkpoint, into its
    `manifest.json`.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint folder.
        last (`str` or `os.PathLike`, *optional*):
            The run's last checkpoint. A file that it shares keeps its checksum, which damage belies.
    """
    folder = Path(folder)
    known = {} if last is None else _entries_of_shared(folder, Path(last))
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {
        name: known.get(name) or {"bytes": path.stat().st_size, "crc32": file_checksum(path)}
        for name, path in names.items()
        if path.name != MANIFEST_NAME
    }
    manifest = {"format": FORMAT, "files": files}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _entries_of_shared(folder: Path, last: Path) -> dict[str, dict[str, Any]]:
    """The entries of files that two checkpoints share, in the manifest of the last one."""
    try:
        entries = json.loads((last / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
        return {
            name: entry
            for name, entry in entries.items()
            if (folder / name).is_file() and (last / name).is_file() and (folder / name).samefile(last / name)
        }
    except (OSError, ValueError):
        return {}


def check_format(folder: str | os.PathLike[str]) -> None:
    """
    Checks that this version of the package can read a checkpoint.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint folder. [`find_corruption`] tells what else is wrong with it.

    Raises:
        ValueError: If another version of the package wrote the checkpoint, in another format.
    """
    try:
        manifest = json.loads((Path(folder) / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(manifest, dict) or manifest.get("format") == FORMAT:
        return
    found = manifest.get("format")
    is_newer = isinstance(found, int) and found > FORMAT
    remedy = "update hf_alphavil" if is_newer else "resume with the version that wrote it"
    raise ValueError(
        f"{'a newer' if is_newer else 'an older'} version of hf_alphavil wrote {folder} "
        f"({'without a format version' if found is None else f'format {found}'}; this version reads format {FORMAT}): "
        f"{remedy}, or start a new run from the model in that folder, in another `output_dir`"
    )


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
        expected = {name: (int(entry["bytes"]), str(entry["crc32"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{manifest} cannot be read"
    for name, (size, checksum) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} has {path.stat().st_size} bytes instead of {size}"
        if file_checksum(path) != checksum:
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


def is_of_trainer(folder: Path) -> bool:
    """
    Whether transformers' `Trainer` wrote a checkpoint, which has neither a manifest nor the state of a run with tasks.

    Args:
        folder (`Path`): The checkpoint folder.
    """
    is_ours = (folder / MANIFEST_NAME).exists() or (folder / STATE_NAME).exists()
    return not is_ours and (folder / TRAINER_STATE_NAME).is_file()


def warn_of_trainers_checkpoints(output_dir: str | os.PathLike[str]) -> None:
    """
    Warns of checkpoints of transformers' `Trainer` in a folder that a run is about to write checkpoints to.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    if theirs := [folder.name for folder in reversed(checkpoints(output_dir)) if is_of_trainer(folder)]:
        logger.warning(
            "%s holds checkpoints of transformers' Trainer (%s): `save_total_limit` leaves them alone, but this "
            "run replaces those at whose step it saves; pass another `output_dir` to keep the two runs apart",
            output_dir, ", ".join(theirs),
        )  # fmt: skip


def intact_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Finds the intact checkpoints of a run, latest first. Skips corrupt ones with a warning.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.
    """
    return filter(_is_intact, checkpoints(output_dir))


def resumable_checkpoints(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Yields the intact checkpoints that a run can resume from, latest first. Skips those that hold only the model.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder. It need not exist.

    Raises:
        ValueError: If another version of the package wrote a checkpoint. A run from scratch would replace it.
    """
    for folder in checkpoints(output_dir):
        check_format(folder)
        if not _is_intact(folder):
            continue
        if (folder / STATE_NAME).is_file():
            yield folder
        else:
            logger.warning("skipped the checkpoint %s, which holds only the model (save_only_model)", folder)


def rotate(output_dir: str | os.PathLike[str], limit: int | None, keep: Collection[str | os.PathLike[str]]) -> None:
    """
    Deletes the checkpoints with the lowest step numbers, until `limit` are left. Their times, which a clock may have
    set wrong, do not count. Checkpoints of transformers' `Trainer` are left alone.

    Args:
        output_dir (`str` or `os.PathLike`): The run's output folder.
        limit (`int`, *optional*): `save_total_limit`. Nothing is deleted if it is `None` or 0.
        keep (`Collection`): Checkpoints that are never deleted: the one just written, and the best one.
    """
    if limit is None or limit <= 0:
        return
    found = [folder for folder in checkpoints(output_dir) if not is_of_trainer(folder)]
    kept = {os.path.realpath(folder) for folder in keep}
    removable = [folder for folder in reversed(found) if os.path.realpath(folder) not in kept]
    for folder in removable[: max(0, len(found) - limit)]:
        shutil.rmtree(folder, ignore_errors=True)


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
        ValueError: If there is no such folder, if another version of the package or transformers' `Trainer` wrote the
            checkpoint, or if it is corrupt. The message gives the corrupt file and what is wrong with it.
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
    if not (folder / MANIFEST_NAME).exists() and (inside := checkpoints(folder)):
        raise ValueError(
            f"{folder} is a run's folder and no checkpoint: pass one of the checkpoints in it, such as {inside[0]}"
        )
    if is_of_trainer(folder):
        raise ValueError(
            f"{folder} is {_OF_TRAINER}: a multitask run cannot resume from it. Leave out `resume_from_checkpoint` to "
            "start a new run, in another `output_dir`, or pass 'auto' for the latest checkpoint of MultitaskTrainer"
        )
    check_format(folder)
    problem = find_corruption(folder)
    if problem is not None:
        raise ValueError(
            f"{folder} is a corrupt checkpoint: {problem}. Resume from another one, or pass 'auto' for the latest "
            "intact one"
        )
    return str(folder)


def _is_intact(folder: Path) -> bool:
    if is_of_trainer(folder):
        logger.warning("skipped %s, %s", folder, _OF_TRAINER)
        return False
    problem = find_corruption(folder)
    if problem is not None:
        logger.warning("skipped the corrupt checkpoint %s: %s", folder, problem)
    return problem is None
