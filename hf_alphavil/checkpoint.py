"""The state of a plan in a checkpoint: JSON and safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

STATE_NAME = "multitask_state.json"
TENSORS_NAME = "multitask_state.safetensors"


def save_run_state(directory: str | Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """
    Writes the state of a run into a checkpoint folder.

    Args:
        directory (`str` or `Path`): The checkpoint folder; it exists.
        tensors (`Mapping[str, Tensor]`): Tensors by name; none may share memory with another.
        state (`Mapping`): What JSON can hold.
    """
    folder = Path(directory)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS_NAME)
    (folder / STATE_NAME).write_text(json.dumps(state, indent=1), encoding="utf-8")


def load_run_state(directory: str | Path) -> dict[str, Any]:
    """
    Reads the JSON part of a run's state.

    Args:
        directory (`str` or `Path`): The checkpoint folder.

    Raises:
        ValueError: If the folder is no checkpoint of a multitask run.
    """
    path = Path(directory) / STATE_NAME
    if not path.is_file():
        raise ValueError(
            f"{directory} holds no {STATE_NAME}: it is no checkpoint of a multitask run, or was saved with "
            "`save_only_model=True`. Resume from another checkpoint, or load its weights and start anew"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def load_run_tensors(directory: str | Path) -> dict[str, Tensor]:
    """
    Reads the tensors of a run's state, on the CPU.

    Args:
        directory (`str` or `Path`): The checkpoint folder.
    """
    # Tensors that lie in the file's own buffer start at any byte, and vectorised sums depend on the alignment in their
    # last bit: a resumed run would not be bit-equal. Clones are aligned as all others.
    return {name: tensor.clone() for name, tensor in load_file(Path(directory) / TENSORS_NAME).items()}
