"""The folders of a run that are pushed."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

#: The folder of `output_dir` that holds what is being pushed, and what could not be pushed.
PUSH_FOLDER = "_push"
#: What a run reports, beside its model.
REPORTS = ("README.md", "report.html", "alphavil_history.json", "*_results.json", "plots/*.png", "runs/**/*")


def copy_reports(run_dir: Path, page: Path) -> None:
    """
    Copies a run's card, scores, history, plots and TensorBoard logs.

    Args:
        run_dir (`Path`): The run's folder.
        page (`Path`): The folder to copy to.
    """
    for pattern in REPORTS:
        for file in run_dir.glob(pattern):
            if file.is_file():
                place = page / file.relative_to(run_dir)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)


def link_folder(folder: Path, place: Path) -> Path:
    """
    Makes a second folder with the files of a checkpoint, which outlives the rotation of checkpoints.

    Files are hard links where the file system has them, since a checkpoint's files do not change.

    Args:
        folder (`Path`): The checkpoint.
        place (`Path`): The new folder.

    Returns:
        `Path`: The new folder.
    """
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, copy_function=_link_or_copy)
    return place


def remove_pushed(folder: Path) -> None:
    """
    Removes a folder that has been pushed, and the one around it once it is empty.

    Args:
        folder (`Path`): A folder in `PUSH_FOLDER`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _link_or_copy(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
