"""A batch sampler that walks the plan of the running epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch.utils.data import Sampler

from .plan import EpochPlan
from .sampling import epoch_streams


class PlanBatchSampler(Sampler[list[int]]):
    """
    Yields task-pure batches of row numbers of a `ConcatDataset`, in the order of the running epoch's plan.

    All batches are full, and every optimizer step yields the batches of all ranks and of the whole accumulation
    window one after another: accelerate's `BatchSamplerShard`, which deals batch i to rank i mod n, then gives every
    rank the same task in the same step and drops nothing.

    The plan is asked for when iteration starts. There is deliberately no `set_epoch`: accelerate does not forward it
    through a resumed loader (DESIGN.md, trap 2), so the trainer owns the epoch.

    Args:
        current_plan (`Callable[[], EpochPlan]`): Returns the plan of the epoch that is about to run.
        num_rows (`Mapping[str, int]`): Rows per task, in the order in which the datasets are concatenated.
        batch_size (`int`): Rows per device and batch.
        batches_per_step (`int`): Batches per optimizer step: accumulation steps × ranks.
        fraction (`float`): The share ρ of a task's rows that an epoch samples.
        data_seed (`int`): Seed of all draws.
    """

    drop_last = False

    def __init__(
        self,
        current_plan: Callable[[], EpochPlan],
        num_rows: Mapping[str, int],
        batch_size: int,
        batches_per_step: int,
        fraction: float,
        data_seed: int,
    ) -> None:
        self.current_plan = current_plan
        self.num_rows = dict(num_rows)
        self.batch_size = batch_size
        self.batches_per_step = batches_per_step
        self.fraction = fraction
        self.data_seed = data_seed

    def __len__(self) -> int:
        """Batches of the longest plan, over all ranks; a shorter plan ends early."""
        return self.current_plan().nominal_steps * self.batches_per_step

    def __iter__(self) -> Iterator[list[int]]:
        plan = self.current_plan()
        streams = epoch_streams(self.num_rows, self.fraction, self.data_seed, plan.epoch)
        offsets: dict[str, int] = {}
        end = 0
        for task, rows in self.num_rows.items():
            offsets[task] = end
            end += rows
        for task in plan:
            for _ in range(self.batches_per_step):
                yield [offsets[task] + row for row in streams[task].take(self.batch_size)]
