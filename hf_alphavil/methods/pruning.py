"""Pruning: auxiliaries with a low weight leave the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Pruning:
    """
    Prunes an auxiliary whose weight was at or below a bound after several epochs in a row. The rule is ours.

    It compares the weight after bounds and moving average but before normalisation, because `min_task_weight` is on
    that scale. Epochs in which the task's δ was dropped or α fell back to its start count too. Those that did not
    train it, because it was not chosen (`max_auxiliaries_per_epoch`), do not count.

    Args:
        below (`float`, *optional*): The bound. `None` prunes no task.
        patience (`int`): Number of epochs in a row before a task is pruned.
        target (`str`): The target task, which is never pruned.
    """

    def __init__(self, below: float | None, patience: int, target: str) -> None:
        self.below = below
        self.patience = patience
        self.target = target
        #: Pruned tasks, in the order in which they left.
        self.pruned: list[str] = []
        self._epochs_below: dict[str, int] = {}

    def observe(self, weights: Mapping[str, float]) -> list[str]:
        """
        Counts an epoch.

        Args:
            weights (`Mapping[str, float]`): Weights of the tasks that the epoch trained, before normalisation.

        Returns:
            `list[str]`: Tasks that leave the plan now.
        """
        if self.below is None:
            return []
        for task, weight in weights.items():
            is_below = task != self.target and weight <= self.below
            self._epochs_below[task] = self._epochs_below.get(task, 0) + 1 if is_below else 0
        leaving = [task for task in weights if self._epochs_below[task] >= self.patience]
        self.pruned += leaving
        return leaving

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The state, JSON-serialisable."""
        return {"pruned": list(self.pruned), "epochs_below": dict(self._epochs_below)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self.pruned, self._epochs_below = list(state["pruned"]), dict(state["epochs_below"])
