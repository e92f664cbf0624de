"""The run's state in a checkpoint: a JSON file and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safetensors.torch import load_file, save_file
from torch import Tensor

from .shared_files import SharedFiles

STATE_NAME = "multitask_state.json"
TENSORS_NAME = "multitask_state.safetensors"


def tensors_name(shard: tuple[int, int] | None = None, part: str | None = None) -> str:
    """
    Name of a file that holds tensors of a run.

    Args:
        shard (`tuple[int, int]`, *optional*):
            Index of this process and number of processes, if every process writes separate files.
        part (`str`, *optional*): Start of the names of the file's tensors, if a separate file holds them.
    """
    stem, suffix = TENSORS_NAME.split(".")
    if shard is not None:
        stem += f"-{shard[0] + 1:05d}-of-{shard[1]:05d}"
    if part is not None:
        stem += f".{quote(part.strip('/').replace('/', '-'), safe='() ')}"
    return f"{stem}.{suffix}"


def save_run_state(
    directory: str | Path,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    shard: tuple[int, int] | None = None,
    versions: Mapping[str, Hashable] | None = None,
    shared: SharedFiles | None = None,
) -> None:
    """
    Writes the state of a run into a checkpoint folder.

    Args:
        directory (`str` or `Path`): The checkpoint folder. It is created if it does not exist.
        tensors (`Mapping[str, Tensor]`): Tensors by name. No two may share memory.
        state (`Mapping`): Everything else, JSON-serialisable.
        shard (`tuple[int, int]`, *optional*): See [`tensors_name`]. Only the first process writes `state`.
        versions (`Mapping[str, Hashable]`, *optional*):
            Parts in separate files: the start of the tensors' names, and the version of [`SharedFiles`].
        shared (`SharedFiles`, *optional*): The files of the run's last checkpoint.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)  # the first process is not always the first to write
    rest, shared = dict(tensors), shared or SharedFiles()
    for part, version in (versions or {}).items():
        own = {name: rest.pop(name).contiguous() for name in tensors if name.startswith(part)}
        if own and not shared.link(part, version, folder):
            save_file(own, folder / tensors_name(shard, part))
            shared.written(part, version, [tensors_name(shard, part)])
    save_file({name: tensor.contiguous() for name, tensor in rest.items()}, folder / tensors_name(shard))
    if shard is not None and shard[0] > 0:
        return
    (folder / STATE_NAME).write_text(json.dumps(state, indent=1), encoding="utf-8")


def load_run_state(directory: str | Path) -> dict[str, Any]:
    """
    Reads the JSON part of a run's state.

    Args:
        directory (`str` or `Path`): The checkpoint folder.

    Raises:
        ValueError: If the folder is not a checkpoint of a multitask run, or holds only the model.
    """
    path = Path(directory) / STATE_NAME
    if not path.is_file():
        raise ValueError(
            f"{directory} holds no {STATE_NAME}: it is not a checkpoint of a multitask run, or was saved with "
            "`save_only_model=True`. Resume from another checkpoint, or load its weights and start a new run"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def load_run_tensors(directory: str | Path, shard: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """
    Reads the tensors of a run's state into CPU memory.

    Args:
        directory (`str` or `Path`): The checkpoint folder.
        shard (`tuple[int, int]`, *optional*): See [`tensors_name`].

    Raises:
        ValueError: If a different number of processes wrote the checkpoint, or if the checkpoint has a file per
            process and this run does not, or the reverse.
    """
    path = Path(directory) / tensors_name(shard)
    if not path.is_file():
        names = (file.name for file in Path(directory).glob("multitask_state*.safetensors"))
        present = ", ".join(sorted(name for name in names if name.count(".") == 1))  # without parts
        raise ValueError(
            f"{directory} holds no {path.name} (it holds {present or 'no such file'}): under FSDP2 and phase_parallel "
            "every process saves its own deltas and optimizer states, so the number of processes must not change. "
            "Resume with the same launch file and the same --num_processes, or start a new run from the checkpoint's "
            "weights"
        )
    # `load_file` returns views of the file's buffer, which may start at any byte. The last bit of a vectorised sum
    # depends on alignment, so a run resumed on such views would not be bit-equal. Clones have the usual alignment.
    files = [path, *path.parent.glob(f"{path.stem}.*{path.suffix}")]
    return {name: tensor.clone() for file in files for name, tensor in load_file(file).items()}
