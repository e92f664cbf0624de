"""Settings of an epoch's phases: their length, their optimizer state, their deltas, and how processes share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class PhaseArguments:
    """How long phases are, what is kept of each, and whether processes run different phases at once."""

    help_title: ClassVar[str] = "αVIL: phases"  # in `--help`

    delta_fraction: float = field(
        default=1.0,
        metadata={"help": "ρ: fraction of every task's training rows that an epoch samples at random, in (0, 1]."},
    )
    max_phase_steps: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of optimizer steps per task and epoch, so that a large auxiliary task does not "
            "dominate. Default: no limit."
        },
    )
    max_auxiliaries_per_epoch: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of auxiliary tasks that an epoch trains, besides the target. Those with the "
            "greatest upper confidence bound on their contributions are chosen (as in FLAD, arXiv 2302.00674); each "
            "is tried once first. Default: all."
        },
    )
    phase_lengths: str = field(
        default="proportional",
        metadata={
            "help": "How the tasks share the steps of an epoch's separate phases, whose sum stays: `proportional` to "
            "their rows, so that each row is seen once, `equal`, or by `temperature` (`sampling_temperature`). Long "
            "phases pass through a task's rows again, short ones take a random part of them.",
            "choices": ("proportional", "equal", "temperature"),
        },
    )
    joint_fraction: float = field(
        default=None,  # type: ignore[assignment]  # filled in by `alphavil_preset`
        metadata={
            "help": "Fraction of an epoch's steps, in [0, 1), that one joint phase on all tasks takes before the "
            "tasks' separate phases. Default: 0.8, and 0 with alphavil_preset=paper."
        },
    )
    target_phase: str = field(
        default="fork",
        metadata={
            "help": "Where the target's own steps are: in a `fork` (the paper's algorithm), `last` (after the "
            "auxiliaries' merge) or `both`.",
            "choices": ("fork", "last", "both"),
        },
    )
    merge_deltas: bool = field(
        default=True,
        metadata={
            "help": "Whether the deltas are merged. With `False` they only set the task weights, and a joint phase "
            "(`joint_fraction` above 0) does the training."
        },
    )
    rounds_per_epoch: int = field(
        default=1,
        metadata={
            "help": "Rounds of forks, α step and merge in an epoch. Each has its part of every task's rows. "
            "The task weights follow the mean α of the epoch."
        },
    )
    final_target_epochs: int | None = field(
        default=None,
        metadata={
            "help": "Number of epochs at the end of the run that train the target alone, on its held-out rows too, "
            "with a new learning-rate schedule. They count as epochs of the run. Default: a third of the run's "
            "epochs, rounded, and 0 with alphavil_preset=paper."
        },
    )
    phase_optimizer_state: str = field(
        default="per_task",
        metadata={
            "help": "`per_task`: every task keeps its own optimizer state from epoch to epoch; `reset`: each phase "
            "starts without state (less memory).",
            "choices": ("per_task", "reset"),
        },
    )
    optimizer_state_device: str = field(
        default="device",
        metadata={
            "help": "Where `per_task` keeps optimizer states between phases: on the parameters' `device`, or in `cpu` "
            "memory (pinned for CUDA), which is copied at the start and at the end of every phase.",
            "choices": ("device", "cpu"),
        },
    )
    optimizer_state_dtype: str = field(
        default="float32",
        metadata={
            "help": "Data type of optimizer states between phases: `float32` (the optimizer's precision) or "
            "`bfloat16` (half the memory; each state is rounded once, when its phase ends).",
            "choices": ("float32", "bfloat16"),
        },
    )
    delta_device: str = field(
        default="device",
        metadata={
            "help": "Where θ0 and the deltas are kept between uses: on the parameters' `device`, or in `cpu` memory "
            "(pinned for CUDA), which makes α steps slower.",
            "choices": ("device", "cpu"),
        },
    )
    delta_dtype: str = field(
        default="float32",
        metadata={
            "help": "Data type of stored deltas: `float32` (the parameters' precision) or `bfloat16` (half the "
            "memory; each δ is rounded once, when its phase ends). θ0 and sums keep the parameters' precision.",
            "choices": ("float32", "bfloat16"),
        },
    )
    phase_parallel: str = field(
        default="off",
        metadata={
            "help": "`on`: groups of processes train different tasks at the same time and exchange each δ once per "
            "epoch; a step then has per-device batch × accumulation × group size rows. `auto`: `on` where possible. "
            "`off`: all processes train the tasks one after another, data-parallel.",
            "choices": ("off", "auto", "on"),
        },
    )
    phase_group_size: int | None = field(
        default=None,
        metadata={
            "help": "Processes per group of `phase_parallel`. Default: the smallest size that gives every group a "
            "task."
        },
    )

    def check_phases(self) -> None:
        """
        Checks choices, ranges and combinations.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, PhaseArguments)
        require(self, "delta_fraction", 0 < self.delta_fraction <= 1, "a share in (0, 1]")
        require(self, "joint_fraction", 0 <= self.joint_fraction < 1, "a share in [0, 1)")
        self._check_depth()
        steps, size = self.max_phase_steps, self.phase_group_size
        require(self, "max_phase_steps", steps is None or steps > 0, "a positive number")
        most = self.max_auxiliaries_per_epoch
        is_count = most is None or (type(most) is int and most > 0)
        require(self, "max_auxiliaries_per_epoch", is_count, "a positive whole number, or leave it out")
        require(self, "phase_group_size", size is None or size > 0, "a positive number")
        require(
            self,
            "phase_group_size",
            size is None or self.phase_parallel != "off",
            "None, or set phase_parallel to 'on' or 'auto'",
        )

    def _check_depth(self) -> None:
        rounds, last = self.rounds_per_epoch, self.final_target_epochs
        require(self, "rounds_per_epoch", type(rounds) is int and rounds > 0, "a positive whole number")
        is_count = last is None or (type(last) is int and last >= 0)
        require(self, "final_target_epochs", is_count, "a whole number of epochs, 0 or more, or leave it out")
        if not self.merge_deltas:
            require(self, "merge_deltas", self.joint_fraction > 0, "True, or joint_fraction above 0")
            require(self, "target_phase", self.target_phase == "fork", "'fork' with merge_deltas=False")
            require(self, "rounds_per_epoch", rounds == 1, "1 with merge_deltas=False")
