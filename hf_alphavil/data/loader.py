"""The training loader: every task's rows, in the order of the running epoch's plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, Dataset
from transformers import TrainingArguments

from .batch_sampler import PlanBatchSampler


def plan_loader(
    dataset: Dataset,
    sampler: PlanBatchSampler,
    collate: Callable,
    start_worker: Callable[[int], None],
    args: TrainingArguments,
) -> DataLoader:
    """
    Creates the loader of a plan's batches, with the worker settings of the training arguments.

    Args:
        dataset (`TaskConcatDataset`): All tasks' training sets, in the order of the sampler's `num_rows`.
        sampler (`PlanBatchSampler`): Chooses the rows of every batch.
        collate (`Callable`): Turns the examples of a batch into the model's inputs.
        start_worker (`Callable[[int], None]`): Called in every worker process with the worker's id.
        args (`TrainingArguments`): For the `dataloader_*` settings.
    """
    settings: dict[str, Any] = {
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory,
        "persistent_workers": args.dataloader_persistent_workers,
        "multiprocessing_context": args.dataloader_multiprocessing_context,
        "prefetch_factor": args.dataloader_prefetch_factor,
        "in_order": args.dataloader_in_order,
    }
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, worker_init_fn=start_worker, **settings)
