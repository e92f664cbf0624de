"""What a run cost, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch

from ..version import __version__, library_versions


def cost_of(log_history: Sequence[dict[str, Any]], memory: int | None = None) -> dict[str, str]:
    """
    What a run cost, as far as its log tells.

    Args:
        log_history (`Sequence[dict]`): `trainer.state.log_history`.
        memory (`int`, *optional*): Peak memory of the first process's device, in bytes.

    Returns:
        `dict[str, str]`: Values by the words for them; empty if the run has not ended.
    """
    ends = [entry for entry in log_history if "train_runtime" in entry]
    if not ends:
        return {}
    end = ends[-1]
    seconds = end["train_runtime"]
    cost = {"training time since the last start": str(timedelta(seconds=max(1, round(seconds))))}
    if "step" in end:
        cost["optimizer steps"] = f"{end['step']:,}"
    if speed := end.get("train_samples_per_second"):
        cost["rows trained on since the last start, with repetitions"] = (
            f"about {float(f'{seconds * speed:.3g}'):,.0f}"
        )
    if memory is not None:
        cost["peak memory of the first device"] = f"{memory / 1e9:.2f} GB"
    return cost


def peak_memory() -> int | None:
    """`int`, *optional*: Peak memory that PyTorch has used on this process's GPU, in bytes; `None` without CUDA."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def machine_of(device: torch.device, num_processes: int) -> dict[str, str]:
    """
    What a run ran on.

    Args:
        device (`torch.device`): The first process's device.
        num_processes (`int`): Number of processes.

    Returns:
        `dict[str, str]`: `hardware` and `software`, in words.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    versions = {"hf_alphavil": __version__} | library_versions()
    return {
        "hardware": name if num_processes == 1 else f"{num_processes} processes, {name}",
        "software": ", ".join(f"{library} {version}" for library, version in versions.items()),
    }
