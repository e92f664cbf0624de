"""Short histories with numbers that are easy to follow."""

import sys
from typing import Any

from hf_alphavil.reporting import plot_task_weights

HISTORY: list[dict[str, Any]] = [
    {
        "epoch": 1,
        "alpha": {"rte": 1.5, "mrpc": 0.25},
        "task_weights_used": {"rte": 1.0, "mrpc": 1.0},
        "task_weights": {"rte": 1.5, "mrpc": 0.25},
        "meta_loss": [0.75, 0.5, 0.25],
    },
    {
        "epoch": 2,
        "alpha": {"rte": 1.25, "mrpc": -0.5},
        "task_weights_used": {"rte": 1.5, "mrpc": 0.25},
        "task_weights": {"rte": 1.75, "mrpc": 0.1},
        "meta_loss": [0.25, 0.125, 0.0625],
    },
]

#: mrpc leaves the plan after the second epoch.
PRUNED: list[dict[str, Any]] = [
    {**HISTORY[0], "pruned": []},
    {**HISTORY[1], "task_weights": {"rte": 1.0, "mrpc": 0.0}, "pruned": ["mrpc"]},
    {
        "epoch": 3,
        "alpha": {"rte": 1.125},
        "task_weights_used": {"rte": 1.0, "mrpc": 0.0},
        "task_weights": {"rte": 1.125, "mrpc": 0.0},
        "meta_loss": [0.0625, 0.0625, 0.03125],
        "pruned": [],
    },
]

WITHOUT_ALPHA: list[dict[str, Any]] = [
    {
        "epoch": 1,
        "alpha": {},
        "task_weights_used": {"rte": 1.0, "mrpc": 1.0},
        "task_weights": {"rte": 1.0, "mrpc": 1.0},
        "meta_loss": [],
    }
]


def plot_with_another_backend(path):
    """Plots the history where the user has chosen a backend; returns the backend and whether pyplot was imported."""
    import matplotlib

    matplotlib.use("svg")
    plot_task_weights(HISTORY, "rte", path)
    return matplotlib.get_backend(), "matplotlib.pyplot" in sys.modules
