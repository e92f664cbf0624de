"""The versions on which a measured result depends."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import accelerate
import torch
import transformers

import hf_alphavil


def versions() -> dict[str, str | None]:
    """Versions of the libraries and of this code. `commit` ends in `-dirty` if files were changed since."""
    root = Path(__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # an archive without its history
        commit = None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "hf_alphavil": hf_alphavil.__version__,
        "commit": commit,
    }
