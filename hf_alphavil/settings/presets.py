"""The presets of αVIL: values of the settings that the user does not give."""

from __future__ import annotations

from typing import Any

#: By preset, the value of every setting that is `None` by default. `joint` is ours: benchmarks/README.md compares it
#: with `paper`, the algorithm of arXiv 2405.07769. In `joint`, `final_target_epochs` stays `None`: it depends on the
#: length of the run, see [`last_epochs`]. `paper` sets no `min_target_weight`.
PRESETS: dict[str, dict[str, Any]] = {
    "joint": {
        "joint_fraction": 0.8,
        "alpha_optimizer": "auto",
        "alpha_holdout_fraction": 0.3,
        "min_target_weight": 1.0,
    },
    "paper": {
        "joint_fraction": 0.0,
        "alpha_optimizer": "sgd",
        "alpha_holdout_fraction": 0.1,
        "final_target_epochs": 0,
    },
}


def last_epochs(final_target_epochs: int | None, num_epochs: int) -> int:
    """
    The number of epochs at the end of a run that train the target alone.

    Args:
        final_target_epochs (`int`, *optional*): The setting. `None` is a third of the epochs, rounded. A run of one
            epoch has none, one of two to four epochs has one.
        num_epochs (`int`): Epochs of the run.
    """
    return round(num_epochs / 3) if final_target_epochs is None else final_target_epochs
