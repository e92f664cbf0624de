"""The batches of a run: which rows every step of the running epoch's plan gets."""

from __future__ import annotations

from ..data import PlanBatchSampler
from .runner import PlanRunner


def plan_sampler(runner: PlanRunner) -> PlanBatchSampler:
    """
    Creates the batch sampler of a run.

    Args:
        runner (`PlanRunner`): The runner of the current `train()` call.
    """
    context, args = runner.context, runner.context.args
    datasets = context.setup.train_datasets
    return PlanBatchSampler(
        current_lanes=lambda: runner.state.lanes,
        max_steps=runner.max_steps,
        num_rows={name: len(dataset) for name, dataset in datasets.items()},
        rows_per_task=context.batch_size,
        accumulation_steps=args.gradient_accumulation_steps,
        ranks_per_lane=runner.groups.size,
        fraction=args.delta_fraction,
        data_seed=args.resolved_data_seed,
        lengths={name: context.setup.lengths.of(dataset) for name, dataset in datasets.items()},
    )
