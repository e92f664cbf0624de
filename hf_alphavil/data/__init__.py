"""
Plans and phases, task sampling, batches and the held-out slice.

This package knows nothing about models and parameters.
"""

from .batch_sampler import PlanBatchSampler
from .columns import select_columns
from .holdout import split_holdout
from .lanes import assign_lanes, padded_tokens
from .plan import JOINT_PHASE, TARGET_PHASE, EpochPlan, Phase
from .sampling import allocate_steps, allocate_within, mixed_order, sampling_shares, steps_per_task
from .task_dataset import BATCHES_KEY, TASK_KEY, TaskCollator, TaskConcatDataset, TaskDataset

__all__ = [
    "BATCHES_KEY",
    "JOINT_PHASE",
    "TARGET_PHASE",
    "TASK_KEY",
    "EpochPlan",
    "Phase",
    "PlanBatchSampler",
    "TaskCollator",
    "TaskConcatDataset",
    "TaskDataset",
    "allocate_steps",
    "allocate_within",
    "assign_lanes",
    "mixed_order",
    "padded_tokens",
    "sampling_shares",
    "select_columns",
    "split_holdout",
    "steps_per_task",
]
