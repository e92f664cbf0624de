"""The versions on which a measured result depends."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from ..version import __version__, library_versions

#: The repository, if the package runs from a clone of it.
ROOT = Path(__file__).parents[2]


def versions() -> dict[str, str | None]:
    """Versions of the libraries and of this code. `commit` ends in `-dirty` if files were changed since."""
    return {
        "python": platform.python_version(),
        **library_versions(),
        "hf_alphavil": __version__,
        "commit": _commit(),
    }


def _commit() -> str | None:
    if not (ROOT / ".git").exists():  # an installed package may be inside another project's repository
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # without git, or without its history
        return None
