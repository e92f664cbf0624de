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


def tensors_name(shard: tuple[int, int] | None = None) -> str:
    """
    File name of a run's tensors.

    Args:
        shard (`tuple[int, int]`, *optional*): Number of this process and of all, where each writes its own shards.
    """
    if shard is None:
        return TENSORS_NAME
    return TENSORS_NAME.replace(".", f"-{shard[0] + 1:05d}-of-{shard[1]:05d}.")


def save_run_state(
    directory: str | Path,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    shard: tuple[int, int] | None = None,
) -> None:
    """
    Writes the state of a run into a checkpoint folder.

    Args:
        directory (`str` or `Path`): The checkpoint folder; made where it is not there.
        tensors (`Mapping[str, Tensor]`): Tensors by name; none may share memory with another.
        state (`Mapping`): What JSON can hold.
        shard (`tuple[int, int]`, *optional*): See [`tensors_name`]; the first process writes `state`.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)  # a process that writes its shard may come before the first
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / tensors_name(shard))
    if shard is not None and shard[0] > 0:
        return
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


def load_run_tensors(directory: str | Path, shard: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """
    Reads the tensors of a run's state, on the CPU.

    Args:
        directory (`str` or `Path`): The checkpoint folder.
        shard (`tuple[int, int]`, *optional*): See [`tensors_name`].

    Raises:
        ValueError: If the checkpoint was written by another number of processes, or sharded and this run is not.
    """
    path = Path(directory) / tensors_name(shard)
    if not path.is_file():
        present = ", ".join(sorted(file.name for file in Path(directory).glob("multitask_state*.safetensors")))
        raise ValueError(
            f"{directory} holds no {path.name}, only {present or 'no such file'}: where processes hold deltas and "
            "optimizer states of their own (FSDP2, phase_parallel), as many go on as have written them. Resume under "
            "the same launch file and with the same --num_processes, or start anew from the checkpoint's weights"
        )
    # Tensors that lie in the file's own buffer start at any byte, and vectorised sums depend on the alignment in their
    # last bit: a resumed run would not be bit-equal. Clones are aligned as all others.
    return {name: tensor.clone() for name, tensor in load_file(path).items()}
