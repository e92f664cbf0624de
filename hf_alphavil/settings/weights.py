"""Settings of the task weights: what they scale, their bounds and moving average, and when a task is pruned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class WeightArguments:
    """The task weights w, which start at 1 or at `task_weights`."""

    help_title: ClassVar[str] = "αVIL: task weights"  # in `--help`

    weight_applies_to: str = field(
        default="learning_rate",
        metadata={
            "help": "What the task weight multiplies: the phase's `learning_rate` (adaptive optimizers cancel a "
            "factor of the loss), or the `loss` (as the paper writes it; applied to gradients after clipping).",
            "choices": ("learning_rate", "loss"),
        },
    )
    # The order of the types matters: a command line passes words, of which argparse takes one or more.
    task_weights: dict[str, float] | str | list[str] | None = field(
        default=None,
        metadata={
            "help": "The weights with which tasks start, by task, such as `rte=2 mrpc=0.5`; 1 for other tasks. "
            "`alphavil`, `diw`, `probed_mixture` and `tawt` change them from epoch to epoch, `multitask` keeps them.",
            "nargs": "+",
        },
    )
    min_task_weight: float = field(
        default=0.1,
        metadata={"help": "Lower bound of a task weight. A weight that reaches 0 never recovers."},
    )
    min_target_weight: float | None = field(
        default=None,
        metadata={
            "help": "Lower bound of the target's own weight, which also holds after normalisation. Default: 1, and "
            "with alphavil_preset=paper `min_task_weight`, before normalisation."
        },
    )
    max_task_weight: float | None = field(
        default=None, metadata={"help": "Upper bound of a task weight. Default: none."}
    )
    max_weight_change: float | None = field(
        default=None,
        metadata={"help": "The greatest change of a task weight in an epoch, before bounds and normalisation."},
    )
    normalize_task_weights: str | None = field(
        default=None,
        metadata={
            "help": "How weights are normalised after each update: `none`; to mean 1 over `all` tasks; to mean 1 over "
            "the `auxiliaries`, where the target keeps its own weight; or by the `target`, whose weight is then 1. "
            "Default: `all` with `weight_applies_to=learning_rate`, `none` with `loss`.",
            "choices": ("none", "all", "auxiliaries", "target"),
        },
    )
    weight_average: float = field(
        default=0.0,
        metadata={
            "help": "β of a moving average of the task weights, in [0, 1): the next weight is β times the current "
            "weight plus 1 − β times the updated one, after bounds and before normalisation. 0 means no average."
        },
    )
    prune_below: float | None = field(
        default=None,
        metadata={
            "help": "Prunes an auxiliary task when its weight, before normalisation, is at or below this value in "
            "`prune_patience` epochs in a row. A pruned task has weight 0 and is not trained again. Default: no "
            "pruning."
        },
    )
    prune_patience: int = field(
        default=2, metadata={"help": "Number of epochs in a row at or below `prune_below` before a task is pruned."}
    )

    def check_weights(self) -> None:
        """
        Checks choices, ranges and combinations.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, WeightArguments)
        low, high = self.min_task_weight, self.max_task_weight
        require(self, "min_task_weight", low >= 0, "0 or more: a negative weight would raise the task's loss")
        require(
            self,
            "max_task_weight",
            high is None or high >= max(low, 1.0),
            "1 or more, and no less than min_task_weight (weights start at 1)",
        )
        require(self, "min_task_weight", low <= 1, "at most 1, where weights start")
        least = self.min_target_weight
        require(
            self,
            "min_target_weight",
            least is None or 0 <= least <= 1,
            "0 or more, and at most 1, where weights start",
        )
        change = self.max_weight_change
        require(self, "max_weight_change", change is None or change > 0, "a positive number, or leave it out")
        require(
            self,
            "normalize_task_weights",
            self.normalize_task_weights != "target" or (low if least is None else least) > 0,
            "'target' together with a min_target_weight above 0, because weights are divided by the target's",
        )
        require(self, "weight_average", 0 <= self.weight_average < 1, "a share in [0, 1)")
        require(self, "prune_patience", self.prune_patience > 0, "a positive number of epochs")
        if self.prune_below is not None:
            self._check_pruning(self.prune_below)

    def _check_pruning(self, threshold: float) -> None:
        low = self.min_task_weight
        require(self, "prune_below", threshold < 1, "less than 1, where weights start")
        require(self, "prune_below", threshold >= low, f"at least min_task_weight={low}, below which no weight falls")
        require(
            self,
            "prune_below",
            threshold > low or self.weight_average == 0,
            f"more than min_task_weight={low}: a moving average (weight_average) never quite reaches that bound",
        )
