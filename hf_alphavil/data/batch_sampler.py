"""A batch sampler that follows the plan of the current epoch, or several lanes of it in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest

from torch.utils.data import Sampler

from .plan import EpochPlan
from .sampling import epoch_streams


class PlanBatchSampler(Sampler[list[int]]):
    """
    Yields batches of row indices into a `TaskConcatDataset`, in the order of the current epoch's plan. A batch has
    rows of one task; in a multi-task step it has rows of every task, one task after the other.

    All batches are full. Each optimizer step yields the batches of all ranks and of the whole accumulation window in
    sequence. accelerate's `BatchSamplerShard` gives batch i to rank i mod n, so that every rank gets the same tasks in
    the same step and no batch is dropped. If the plan is split into lanes, the first ranks get the batches of the
    first lane, and so on. Ranks whose lane has ended get batches that must be ignored.

    The sampler asks for the plan when iteration starts. It deliberately has no `set_epoch`: accelerate does not
    forward that call through a resumed loader, so the trainer keeps track of the epoch.

    Args:
        current_lanes (`Callable[[], Sequence[EpochPlan]]`):
            Returns the lanes of the epoch that is about to run: the parts of its plan that run in parallel, or the
            whole plan as the only lane.
        max_steps (`int`): Optimizer steps of the run's longest lane.
        num_rows (`Mapping[str, int]`): Rows per task, in the order in which the datasets are concatenated.
        rows_per_task (`int`): Rows per device and batch, for each task of a step.
        accumulation_steps (`int`): Batches per optimizer step and rank.
        ranks_per_lane (`int`): Number of ranks that share the steps of a lane.
        fraction (`float`): The share ρ of a task's rows that an epoch samples.
        data_seed (`int`): Seed of all draws.
        lengths (`Mapping[str, Sequence[int]]`, *optional*):
            Lengths of the rows of tasks whose steps have rows of similar length.
        held_out (`tuple[str, int]`, *optional*):
            A task and the number of its held-out rows, which follow the rows of all tasks, for plans that train on
            them. The task's lengths cover both.
    """

    drop_last = False
    #: `None` makes accelerate accept batches of any length. Those of multi-task steps are longer.
    batch_size = None

    def __init__(
        self,
        current_lanes: Callable[[], Sequence[EpochPlan]],
        max_steps: int,
        num_rows: Mapping[str, int],
        rows_per_task: int,
        accumulation_steps: int,
        ranks_per_lane: int,
        fraction: float,
        data_seed: int,
        lengths: Mapping[str, Sequence[int] | None] | None = None,
        held_out: tuple[str, int] | None = None,
    ) -> None:
        self.current_lanes = current_lanes
        self.max_steps = max_steps
        self.num_rows = dict(num_rows)
        self.rows_per_task = rows_per_task
        self.accumulation_steps = accumulation_steps
        self.ranks_per_lane = ranks_per_lane
        self.fraction = fraction
        self.data_seed = data_seed
        self.lengths = lengths or {}
        self.held_out = held_out

    def __len__(self) -> int:
        """Number of batches of the longest plan, over all ranks. Iteration over a shorter plan ends early."""
        return self.max_steps * self.accumulation_steps * self.ranks_per_lane * len(self.current_lanes())

    def __iter__(self) -> Iterator[list[int]]:
        lanes = self.current_lanes()
        rows_per_step = self.rows_per_task * self.accumulation_steps * self.ranks_per_lane
        num_rows = dict(self.num_rows)
        if lanes[0].trains_held_out and self.held_out is not None:
            task, count = self.held_out
            num_rows[task] += count
        streams = epoch_streams(num_rows, self.fraction, self.data_seed, lanes[0].epoch, self.lengths, rows_per_step)
        *starts, end = accumulate(self.num_rows.values(), initial=0)
        offsets = dict(zip(self.num_rows, starts, strict=True))

        def index(task: str, row: int) -> int:
            own = self.num_rows[task]
            return offsets[task] + row if row < own else end + row - own

        def draw(tasks: tuple[str, ...]) -> list[int]:
            return [index(task, row) for task in tasks for row in streams[task].take(self.rows_per_task)]

        ignored = [0] * self.rows_per_task
        for tasks_by_lane in zip_longest(*lanes):
            for _ in range(self.accumulation_steps):
                for tasks in tasks_by_lane:
                    for _ in range(self.ranks_per_lane):
                        yield ignored if tasks is None else draw(tasks)
