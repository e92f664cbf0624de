"""The batches of a run: which rows every step of the running epoch's plan gets."""

from __future__ import annotations

from ..data import PlanBatchSampler, TaskConcatDataset
from .runner import PlanRunner


def plan_rows(runner: PlanRunner) -> tuple[TaskConcatDataset, PlanBatchSampler]:
    """
    The rows of a run, and the batch sampler that chooses among them.

    The target's held-out rows come last. Only plans that train on them ([`EpochPlan`]) have them in their batches.

    Args:
        runner (`PlanRunner`): The runner of the current `train()` call.

    Returns:
        `tuple[TaskConcatDataset, PlanBatchSampler]`: The rows, and the sampler.
    """
    context, args = runner.context, runner.context.args
    setup = context.setup
    datasets, meta = setup.train_datasets, setup.meta_set
    lengths = {name: setup.lengths.of(dataset) for name, dataset in datasets.items()}
    rows, held_out = list(datasets.values()), None
    if args.final_target_epochs != 0 and args.alpha_data == "train_holdout" and meta is not None:
        rows, held_out = [*rows, meta], (setup.target, len(meta))
        of_target, of_meta = lengths[setup.target], setup.lengths.of(meta)
        lengths[setup.target] = None if of_target is None or of_meta is None else [*of_target, *of_meta]
    sampler = PlanBatchSampler(
        current_lanes=lambda: runner.state.lanes,
        max_steps=runner.max_steps,
        num_rows={name: len(dataset) for name, dataset in datasets.items()},
        rows_per_task=context.batch_size,
        accumulation_steps=args.gradient_accumulation_steps,
        ranks_per_lane=runner.groups.size,
        fraction=args.delta_fraction,
        data_seed=args.resolved_data_seed,
        lengths=lengths,
        held_out=held_out,
    )
    return TaskConcatDataset(rows), sampler
