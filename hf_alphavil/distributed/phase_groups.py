"""Task-parallel phases: groups of processes that run phases of their own side by side."""

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
    How many groups of processes run phases side by side, by `phase_parallel` and `phase_group_size`.

    Args:
        args (`MultitaskSettings`): The settings.
        forks_by_task (`bool`): Whether the method's phases are independent of each other, one per task.
        num_tasks (`int`): Tasks that are trained.
        accelerator (`accelerate.Accelerator`): Trainer's.

    Returns:
        `int`: 1 where all processes run all phases together.

    Raises:
        ValueError: If `phase_parallel="on"` cannot be had, with the reasons.
    """
    if args.phase_parallel == "off":
        return 1
    num_processes = accelerator.num_processes
    size = args.phase_group_size or fewest_per_group(num_processes, num_tasks)
    obstacles = {
        "one process runs; launch several": num_processes == 1,
        f"method {args.method!r} has no phases that are independent of each other": not forks_by_task,
        "fewer than two tasks are trained": num_tasks < 2,
        f"the {num_processes} processes do not divide into groups of {size}; change their number or "
        "`phase_group_size`": num_processes % size != 0,
        f"groups of {size} of the {num_processes} processes are one group; change their number or "
        "`phase_group_size`": num_processes > 1 and num_processes == size,
        f"groups of {size} of the {num_processes} processes are more than the {num_tasks} tasks; launch fewer, or "
        "raise `phase_group_size`": num_processes // size > max(num_tasks, 1),
        "joint_fraction > 0 makes a phase that all tasks share": args.joint_fraction > 0,
        "FSDP2 needs all processes for every step (configs/ddp.yaml does without it)": accelerator.is_fsdp2,
        "auto_find_batch_size would change one group's batch alone": args.auto_find_batch_size,
        "include_num_input_tokens_seen would wait for all processes at every batch": (
            args.include_num_input_tokens_seen not in (False, "no")
        ),
        "save_on_each_node would leave out other nodes' phases": args.save_on_each_node,
        "fp16's gradient scaler would see one group's gradients; use bf16": accelerator.mixed_precision == "fp16",
    }
    reasons = [reason for reason, is_met in obstacles.items() if is_met]
    if reasons:
        if args.phase_parallel == "on":
            raise ValueError(f"phase_parallel='on' is not possible: {'; '.join(reasons)}. Pass 'off', or 'auto'")
        return 1
    return num_processes // size


def fewest_per_group(num_processes: int, num_tasks: int) -> int:
    """
    The smallest size of equal groups of which none is without a task: the less is exchanged at every step.

    Args:
        num_processes (`int`): Number of processes.
        num_tasks (`int`): Number of tasks.
    """
    divisors = [size for size in range(1, num_processes + 1) if num_processes % size == 0]
    return next(size for size in divisors if num_processes // size <= max(num_tasks, 1))


class PhaseGroups:
    """
    Groups of equal size, each with a lane: the part of every epoch's plan that it runs.

    Within a group a step is data-parallel, as all processes' is in the sequential plan, which is the case of one
    group. Between groups nothing is exchanged until all lanes have ended.

    Args:
        num_groups (`int`): Number of groups; it divides the number of processes.
        sizes (`Mapping[str, float]`):
            How much work every phase of the run is. They are dealt to groups once for the whole run, so that a phase's
            optimizer state stays where it is; the largest first, each to the group with the least to do.
        process_index (`int`): Number of this process.
        num_processes (`int`): Number of all.
    """

    def __init__(self, num_groups: int, sizes: Mapping[str, float], process_index: int, num_processes: int) -> None:
        self.num_groups = num_groups
        #: Processes per group.
        self.size = num_processes // num_groups
        self.process_index = process_index
        self._own = process_index // self.size
        self._lane_of = assign_lanes(sizes, num_groups)
        self._process_group: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """`bool`: Whether this process speaks for its group."""
        return self.process_index == self._own * self.size

    @property
    def are_several(self) -> bool:
        """`bool`: Whether phases run side by side."""
        return self.num_groups > 1

    def connect(self, timeout: timedelta) -> dist.ProcessGroup | None:
        """
        Connects the processes of each group; called by all processes, once.

        Args:
            timeout (`datetime.timedelta`): How long one waits for another.

        Returns:
            `ProcessGroup`, *optional*: This process's; `None` where a group is one process, or all.
        """
        if self.are_several and self.size > 1:
            for group in range(self.num_groups):
                ranks = range(group * self.size, (group + 1) * self.size)
                connected = dist.new_group(list(ranks), timeout=timeout)
                if group == self._own:
                    self._process_group = connected
        return self._process_group

    def lanes(self, plan: EpochPlan) -> list[EpochPlan]:
        """`list[EpochPlan]`: The part of a plan that each group runs."""
        if not self.are_several:
            return [plan]
        return [
            plan.only({name for name, lane in self._lane_of.items() if lane == group})
            for group in range(self.num_groups)
        ]

    def own_lane(self, plan: EpochPlan) -> EpochPlan:
        """`EpochPlan`: The part of a plan that this process's group runs."""
        return self.lanes(plan)[self._own]

    def num_steps(self, plan: EpochPlan) -> int:
        """`int`: Optimizer steps until every group has run its part of a plan."""
        return max(lane.num_steps for lane in self.lanes(plan))

    @property
    def layout(self) -> dict[str, Any]:
        """`dict`: What a resumed run must have in common, ready for JSON; the lanes where there are several."""
        if not self.are_several:
            return {"groups": 1}
        return {"groups": self.num_groups, "processes": self.num_groups * self.size, "lanes": self._lane_of}

    def owner(self, phase: str) -> int:
        """`int`: The process that speaks for the group which runs a phase."""
        return self._lane_of[phase] * self.size

    def gather(self, values: Tensor) -> Tensor:
        """
        Concatenates a tensor over this process's group; called by all of its processes.

        Args:
            values (`torch.Tensor`): Of shape `(n,)`.

        Returns:
            `torch.Tensor`: Of shape `(n · size,)`.
        """
        if not self.are_several:
            return gather(values)
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous(), group=self._process_group)
        return torch.cat(parts)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """
        The tensor of the group's first process; called by all of its processes.

        Args:
            tensor (`torch.Tensor`): This process's; it may be changed.
        """
        if not self.are_several:
            return broadcast(tensor)
        if self.size > 1:
            dist.broadcast(tensor, self._own * self.size, group=self._process_group)
        return tensor
