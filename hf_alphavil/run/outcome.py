"""What the runner asks its callback to do after a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..data import EpochPlan

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


@dataclass
class StepOutcome:
    """
    Logs, warnings and a checkpoint that are due after a step.

    Args:
        logs (`list[dict[str, float]]`, *optional*): Entries for `Trainer.log`, in order.
        warnings (`list[str]`, *optional*): Warnings for the user.
        must_save (`bool`, *optional*, defaults to `False`): Whether to save a checkpoint that Trainer would not.
        diverged (`bool`, *optional*, defaults to `False`): Whether the step ended a phase that diverged.
    """

    logs: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    must_save: bool = False
    diverged: bool = False

    def log_phase(self, losses: Mapping[str, float]) -> None:
        """
        Adds a phase's mean losses to the logs.

        Args:
            losses (`Mapping[str, float]`): Mean loss by task.
        """
        self.logs.append({f"loss_{task}": loss for task, loss in losses.items()})

    def warn_of_pruned(self, tasks: Sequence[str], plan: EpochPlan, args: MultitaskSettings) -> None:
        """
        Adds a warning about the tasks that have left the plan, on the first process only.

        Args:
            tasks (`Sequence[str]`): The tasks.
            plan (`EpochPlan`): The last plan that they were in.
            args (`MultitaskSettings`): For `prune_below` and `prune_patience`.
        """
        if args.process_index > 0:
            return
        steps = sum(phase.num_steps for phase in plan.phases if phase.name in tasks)
        self.warnings.append(
            f"{', '.join(tasks)} left the plan after epoch {plan.epoch + 1}: the weight was at or below "
            f"prune_below={args.prune_below:g} after {args.prune_patience} epochs in a row. This saves {steps} of the "
            f"{plan.num_steps} optimizer steps of an epoch."
        )
