"""A batch sampler that walks the plan of the running epoch, or several lanes of it side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest

from torch.utils.data import Sampler

from .plan import EpochPlan
from .sampling import epoch_streams


class PlanBatchSampler(Sampler[list[int]]):
    """
    Yields batches of row numbers of a `ConcatDataset`, in the order of the running epoch's plan: of one task, or,
    where a step carries several, one after another of each.

    All batches are full, and every optimizer step yields the batches of all ranks and of the whole accumulation
    window one after another: accelerate's `BatchSamplerShard`, which deals batch i to rank i mod n, then gives every
    rank the same tasks in the same step and drops nothing. Where the plan is split into lanes, the first ranks get the
    batches of the first lane, and so on; ranks whose lane has ended get batches that are not to be used.

    The plan is asked for when iteration starts. There is deliberately no `set_epoch`: accelerate does not forward it
    through a resumed loader, so the trainer owns the epoch.

    Args:
        current_lanes (`Callable[[], Sequence[EpochPlan]]`):
            Returns the lanes of the epoch that is about to run: parts of its plan that run side by side, or the plan.
        max_steps (`int`): Optimizer steps of the longest lane that an epoch of the run has.
        num_rows (`Mapping[str, int]`): Rows per task, in the order in which the datasets are concatenated.
        rows_per_task (`int`): Rows per device and batch, of every task that a step carries.
        accumulation_steps (`int`): Batches per optimizer step and rank.
        ranks_per_lane (`int`): Ranks that share a lane's steps.
        fraction (`float`): The share ρ of a task's rows that an epoch samples.
        data_seed (`int`): Seed of all draws.
    """

    drop_last = False
    #: accelerate then takes batches of any length as they come: a step that carries several tasks has longer ones.
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
    ) -> None:
        self.current_lanes = current_lanes
        self.max_steps = max_steps
        self.num_rows = dict(num_rows)
        self.rows_per_task = rows_per_task
        self.accumulation_steps = accumulation_steps
        self.ranks_per_lane = ranks_per_lane
        self.fraction = fraction
        self.data_seed = data_seed

    def __len__(self) -> int:
        """Batches of the longest plan, over all ranks; a shorter plan ends early."""
        return self.max_steps * self.accumulation_steps * self.ranks_per_lane * len(self.current_lanes())

    def __iter__(self) -> Iterator[list[int]]:
        lanes = self.current_lanes()
        streams = epoch_streams(self.num_rows, self.fraction, self.data_seed, lanes[0].epoch)
        offsets: dict[str, int] = {}
        end = 0
        for task, rows in self.num_rows.items():
            offsets[task] = end
            end += rows
        unused = [0] * self.rows_per_task
        for carried in zip_longest(*lanes):
            for _ in range(self.accumulation_steps):
                for tasks in carried:
                    for _ in range(self.ranks_per_lane):
                        yield (
                            unused
                            if tasks is None
                            else [
                                offsets[task] + row for task in tasks for row in streams[task].take(self.rows_per_task)
                            ]
                        )
