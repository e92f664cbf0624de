"""Task-parallel phases: process groups that run different phases at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from accelerate.utils import broadcast, gather
from torch import Tensor

from ..data import EpochPlan, assign_lanes

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import MultitaskSettings


def count_groups(args: MultitaskSettings, forks_by_task: bool, num_tasks: int, accelerator: Accelerator) -> int:
    """
    Computes how many process groups run phases in parallel, from `phase_parallel` and `phase_group_size`.

    Args:
        args (`MultitaskSettings`): The settings.
        forks_by_task (`bool`): Whether the method has one independent phase per task.
        num_tasks (`int`): Number of tasks to train.
        accelerator (`accelerate.Accelerator`): The trainer's accelerator.

    Returns:
        `int`: The number of groups. It is 1 if all processes run all phases together.

    Raises:
        ValueError: If `phase_parallel="on"` is not possible. The message lists the reasons.
    """
    if args.phase_parallel == "off":
        return 1
    num_processes = accelerator.num_processes
    size = args.phase_group_size or min_group_size(num_processes, num_tasks)
    obstacles = {
        "there is only one process; launch several": num_processes == 1,
        f"method {args.method!r} has no independent phases": not forks_by_task,
        "fewer than two tasks are trained": num_tasks < 2,
        f"the {num_processes} processes do not divide into groups of {size}; change their number or "
        "`phase_group_size`": num_processes % size != 0,
        f"a group of {size} holds all {num_processes} processes; change their number or "
        "`phase_group_size`": num_processes > 1 and num_processes == size,
        f"the {num_processes} processes make {num_processes // size} groups of {size}, more than the {num_tasks} "
        "tasks; launch fewer processes, or raise `phase_group_size`": num_processes // size > max(num_tasks, 1),
        "joint_fraction > 0 adds a phase that all tasks share (alphavil_preset='paper' has none)": (
            args.joint_fraction > 0
        ),
        f"target_phase={args.target_phase!r} adds a phase after the merge": args.target_phase != "fork",
        "max_auxiliaries_per_epoch chooses tasks that may all be one group's": (
            args.max_auxiliaries_per_epoch is not None
        ),
        "rounds_per_epoch > 1 merges inside an epoch": args.rounds_per_epoch > 1,
        "final_target_epochs adds epochs with a single phase (alphavil_preset='paper' has none)": (
            args.final_target_epochs != 0
        ),
        "FSDP2 needs all processes for every step (configs/ddp.yaml does not use it)": accelerator.is_fsdp2,
        "auto_find_batch_size would change the batch size of only one group": args.auto_find_batch_size,
        "include_num_input_tokens_seen would wait for all processes at every batch": (
            args.include_num_input_tokens_seen not in (False, "no")
        ),
        "save_on_each_node would leave out the phases of other nodes": args.save_on_each_node,
        "fp16's gradient scaler would see the gradients of only one group; use bf16": (
            accelerator.mixed_precision == "fp16"
        ),
    }
    reasons = [reason for reason, is_met in obstacles.items() if is_met]
    if reasons:
        if args.phase_parallel == "on":
            raise ValueError(f"phase_parallel='on' is not possible: {'; '.join(reasons)}. Pass 'off' or 'auto'")
        return 1
    return num_processes // size


def min_group_size(num_processes: int, num_tasks: int) -> int:
    """
    Finds the smallest size of equal groups that leaves no group without a task. Small groups exchange less per step.

    Args:
        num_processes (`int`): Number of processes.
        num_tasks (`int`): Number of tasks.
    """
    divisors = [size for size in range(1, num_processes + 1) if num_processes % size == 0]
    return next(size for size in divisors if num_processes // size <= max(num_tasks, 1))


class PhaseGroups:
    """
    Process groups of equal size. Each group runs one lane: its part of every epoch's plan.

    Inside a group, steps are data-parallel. Groups exchange nothing until all lanes of an epoch have ended. With one
    group, all processes run the whole plan, one phase after another.

    Args:
        num_groups (`int`): Number of groups. It must divide the number of processes.
        sizes (`Mapping[str, float]`):
            Amount of work of every phase of the run. Phases are assigned to groups once per run, so that a phase's
            optimizer state stays with its group: the largest first, each to the group with the least work.
        process_index (`int`): Index of this process.
        num_processes (`int`): Number of processes.
    """

    def __init__(self, num_groups: int, sizes: Mapping[str, float], process_index: int, num_processes: int) -> None:
        self.num_groups = num_groups
        #: Processes per group.
        self.size = num_processes // num_groups
        self.process_index = process_index
        #: The number of this process's group.
        self.index = process_index // self.size
        self._lane_of = assign_lanes(sizes, num_groups)
        self._process_group: dist.ProcessGroup | None = None

    @property
    def is_leader(self) -> bool:
        """`bool`: Whether this process is the first of its group."""
        return self.process_index == self.index * self.size

    @property
    def is_parallel(self) -> bool:
        """`bool`: Whether there are several groups, which run phases in parallel."""
        return self.num_groups > 1

    def connect(self, timeout: timedelta) -> dist.ProcessGroup | None:
        """
        Creates a torch process group for each group. All processes must call it, once.

        Args:
            timeout (`datetime.timedelta`): How long a process waits for another.

        Returns:
            `ProcessGroup`, *optional*: This process's group, or `None` if a group is one process or all processes.
        """
        if self.is_parallel and self.size > 1:
            for group in range(self.num_groups):
                ranks = range(group * self.size, (group + 1) * self.size)
                connected = dist.new_group(list(ranks), timeout=timeout)
                if group == self.index:
                    self._process_group = connected
        return self._process_group

    def lanes(self, plan: EpochPlan) -> list[EpochPlan]:
        """`list[EpochPlan]`: The lane of each group in a plan."""
        if not self.is_parallel:
            return [plan]
        return [
            plan.only({name for name, lane in self._lane_of.items() if lane == group})
            for group in range(self.num_groups)
        ]

    @property
    def layout(self) -> dict[str, Any]:
        """`dict`: The groups and their lanes, JSON-serialisable. A resumed run must have the same layout."""
        if not self.is_parallel:
            return {"groups": 1}
        return {"groups": self.num_groups, "processes": self.num_groups * self.size, "lanes": self._lane_of}

    def leader_of(self, phase: str) -> int:
        """`int`: The first process of the group that runs a phase."""
        return self._lane_of[phase] * self.size

    def gather(self, values: Tensor) -> Tensor:
        """
        Concatenates a tensor over this process's group. All processes of the group must call it.

        Args:
            values (`torch.Tensor`): This process's tensor, of shape `(n,)`.

        Returns:
            `torch.Tensor`: The tensors of all processes, of shape `(n · size,)`.
        """
        if not self.is_parallel:
            return gather(values)
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous(), group=self._process_group)
        return torch.cat(parts)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """
        Broadcasts a tensor from the group's first process. All processes of the group must call it.

        Args:
            tensor (`torch.Tensor`): This process's tensor. It may be overwritten.

        Returns:
            `torch.Tensor`: The tensor of the group's first process.
        """
        if not self.is_parallel:
            return broadcast(tensor)
        if self.size > 1:
            dist.broadcast(tensor, self.index * self.size, group=self._process_group)
        return tensor
