"""What a method reports when an epoch's plan has run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """
    A method's part of an epoch's history entry.

    Args:
        alpha (`Mapping[str, float]`, *optional*, defaults to `{}`): α by task, for methods that fit it.
        meta_values (`Sequence[float]`, *optional*, defaults to `()`):
            The target's objective on the meta set, in the order in which it was measured. Metrics are scores: greater
            is better.
        objective (`str`, *optional*, defaults to `"loss"`): What `meta_values` are: `loss`, `metric` or `entropy`.
        pruned (`Sequence[str]`, *optional*):
            Tasks that leave the plan after this epoch. `None` if the method does not prune.
        task_weights_used (`Mapping[str, float]`, *optional*):
            The epoch's task weights, if they are known only when the epoch ends. `None` if they are the weights that
            the plan was made with.
        merged_loss (`float`, *optional*):
            The target's loss or entropy under the merged parameters, if the method has measured it.
        contributions (`Mapping[str, Any]`, *optional*, defaults to `{}`): What [`Contributions`] says of the epoch.
        details (`Mapping[str, Any]`, *optional*, defaults to `{}`): Further entries of the method, JSON-serialisable.
    """

    alpha: Mapping[str, float] = field(default_factory=dict)
    meta_values: Sequence[float] = ()
    objective: str = "loss"
    pruned: Sequence[str] | None = None
    task_weights_used: Mapping[str, float] | None = None
    merged_loss: float | None = None
    contributions: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def without_alpha(self, tasks: Collection[str]) -> EpochRecord:
        """
        The record without the α of some tasks.

        Args:
            tasks (`Collection[str]`): Tasks none of whose deltas was merged, because their phases diverged.
        """

        def others(by_task: Mapping[str, Any]) -> dict[str, Any]:
            return {task: value for task, value in by_task.items() if task not in tasks}

        details = dict(self.details)
        if "alpha_by_layer" in details:
            details["alpha_by_layer"] = others(details["alpha_by_layer"])
        return replace(self, alpha=others(self.alpha), details=details)

    def history_entry(self) -> dict[str, Any]:
        """`dict[str, Any]`: `alpha`, `meta_<objective>`, details, and what else is not `None`; JSON-serialisable."""
        entry = {"alpha": dict(self.alpha), f"meta_{self.objective}": list(self.meta_values)}
        entry |= {**self.contributions, **self.details}
        if self.pruned is not None:
            entry["pruned"] = list(self.pruned)
        if self.task_weights_used is not None:
            entry["task_weights_used"] = dict(self.task_weights_used)
        return entry

    def logs(self, task_weights: Mapping[str, float]) -> dict[str, float]:
        """
        What Trainer logs at the epoch's end.

        Args:
            task_weights (`Mapping[str, float]`): Task weights of the next epoch.

        Returns:
            `dict[str, float]`: `alpha_<task>`, `weight_<task>`, `contribution_<task>` (the mean), `pruned_<task>`
            (1.0) and the last of the meta values as `meta_<objective>`.
        """
        return {
            **{f"alpha_{task}": value for task, value in self.alpha.items()},
            **{f"weight_{task}": value for task, value in task_weights.items()},
            **{f"contribution_{task}": of["mean"] for task, of in self.contributions.get("contribution", {}).items()},
            **({f"meta_{self.objective}": self.meta_values[-1]} if self.meta_values else {}),
            **{f"pruned_{task}": 1.0 for task in self.pruned or ()},
        }
