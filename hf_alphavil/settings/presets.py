"""The presets of αVIL: values of the settings that the user does not give."""

from __future__ import annotations

from typing import Any

#: By preset, the value of every setting that is `None` by default. `joint` is ours: benchmarks/README.md compares it
#: with `paper`, the algorithm of arXiv 2405.07769. With `None`, `final_target_epochs` depends on the length of the run
#: (see [`last_epochs`]), and `min_target_weight` is `min_task_weight`.
PRESETS: dict[str, dict[str, Any]] = {
    "joint": {
        "joint_fraction": 0.8,
        "alpha_optimizer": "auto",
        "alpha_holdout_fraction": 0.3,
        "min_target_weight": 1.0,
        "final_target_epochs": None,
    },
    "paper": {
        "joint_fraction": 0.0,
        "alpha_optimizer": "sgd",
        "alpha_holdout_fraction": 0.1,
        "min_target_weight": None,
        "final_target_epochs": 0,
    },
}


def preset_values(method: str, alphavil_preset: str) -> dict[str, Any]:
    """
    The values that the settings have which the user does not give.

    Args:
        method (`str`): The method. Those that are not αVIL have the values of `paper`.
        alphavil_preset (`str`): The preset of αVIL.
    """
    return PRESETS[alphavil_preset if method == "alphavil" else "paper"]


def last_epochs(final_target_epochs: int | None, num_epochs: int) -> int:
    """
    The number of epochs at the end of a run that train the target alone.

    Args:
        final_target_epochs (`int`, *optional*): The setting. `None` is a third of the epochs, rounded. A run of one
            epoch has none, one of two to four epochs has one.
        num_epochs (`int`): Epochs of the run.
    """
    return round(num_epochs / 3) if final_target_epochs is None else final_target_epochs
