"""What a run's last bits depend on beside its settings: versions of packages, the device and precision."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch
from accelerate import Accelerator

from .code_description import PACKAGES


def describe_environment(accelerator: Accelerator) -> dict[str, str]:
    """
    Describes the packages, the device and the precision of a run.

    Args:
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.
    """
    device = accelerator.device.type
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{f"version of {package}": _version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(accelerator.device) if device == "cuda" else device,
        # A launcher may have set them.
        "mixed precision": str(accelerator.mixed_precision),
        "precision of float32 products": torch.get_float32_matmul_precision(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
