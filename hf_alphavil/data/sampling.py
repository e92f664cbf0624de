"""How many steps and which rows every task gets in an epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import torch

from .length_groups import group_by_length
from .seeding import derive_seed


def sampled_rows(num_rows: int, fraction: float) -> int:
    """
    Number of rows that an epoch samples from a task: the share ρ of its training rows, at least one.

    Args:
        num_rows (`int`): Training rows of the task.
        fraction (`float`): The share ρ in (0, 1].
    """
    return max(1, round(fraction * num_rows))


def steps_per_task(
    num_rows: Mapping[str, int], global_batch_size: int, fraction: float = 1.0, max_phase_steps: int | None = None
) -> dict[str, int]:
    """
    Number of optimizer steps K_t in which every task sees its sampled rows once.

    Args:
        num_rows (`Mapping[str, int]`): Training rows per task.
        global_batch_size (`int`):
            Rows per optimizer step: per-device batch × accumulation steps × the ranks that share the step.
        fraction (`float`, *optional*, defaults to 1.0): The share ρ of a task's rows that an epoch samples.
        max_phase_steps (`int`, *optional*): Maximum steps of a task, so that no task dominates an epoch.

    Returns:
        `dict[str, int]`: Steps per task. An incomplete last step counts and is filled by wrapping around.
    """
    steps = {task: math.ceil(sampled_rows(rows, fraction) / global_batch_size) for task, rows in num_rows.items()}
    if max_phase_steps is not None:
        steps = {task: min(count, max_phase_steps) for task, count in steps.items()}
    return steps


class RowStream:
    """
    The rows of one task in one epoch: a random share ρ, in random order, from the start again when all are used.

    With lengths, rows of similar length are taken together: see [`group_by_length`].

    Args:
        num_rows (`int`): Training rows of the task.
        fraction (`float`): The share ρ.
        seed (`int`): Seed of the draw. It must be equal on all ranks.
        lengths (`Sequence[int]`, *optional*): Length of every row.
        rows_per_step (`int`, *optional*, defaults to 1): Rows of the task in an optimizer step, over all ranks.
    """

    def __init__(
        self,
        num_rows: int,
        fraction: float,
        seed: int,
        lengths: Sequence[int] | None = None,
        rows_per_step: int = 1,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._rows = torch.randperm(num_rows, generator=generator)[: sampled_rows(num_rows, fraction)].tolist()
        if lengths is not None:
            self._rows = group_by_length(self._rows, lengths, rows_per_step, generator)
        self._taken = 0

    def take(self, count: int) -> list[int]:
        """Returns the indices of the next `count` rows, wrapping around at the end of the share."""
        rows = [self._rows[(self._taken + i) % len(self._rows)] for i in range(count)]
        self._taken += count
        return rows


def sampling_shares(
    strategy: str, steps: Mapping[str, int], task_weights: Mapping[str, float], temperature: float
) -> dict[str, Fraction]:
    """
    Each task's share of the steps of a joint phase.

    Args:
        strategy (`str`):
            `proportional` (to the tasks' steps, hence to their rows), `uniform`, `temperature` (steps to the power
            1/`temperature`) or `weights` (the task weights).
        steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once.
        task_weights (`Mapping[str, float]`): Task weights w_t. Negative ones count as 0.
        temperature (`float`): Temperature for the strategy `temperature`: 1 is proportional, infinity is uniform.

    Returns:
        `dict[str, Fraction]`: Exact shares that sum to 1.

    Raises:
        ValueError: If every task has weight 0.
    """
    mass: Callable[[str], float] = {
        "proportional": lambda task: steps[task],
        "uniform": lambda task: 1,
        "temperature": lambda task: steps[task] ** (1.0 / temperature),
        "weights": lambda task: max(task_weights[task], 0.0),
    }[strategy]
    masses = {task: Fraction(mass(task)) for task in steps}
    total = sum(masses.values())
    if total == 0:
        raise ValueError("every task has weight 0, so nothing is left to train: raise `min_task_weight` above 0")
    return {task: value / total for task, value in masses.items()}


def allocate_steps(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """
    Splits `total` steps by `shares` with the largest remainder method. Ties go to the first name.

    Args:
        total (`int`): Steps to split.
        shares (`Mapping[str, Fraction]`): Exact shares that sum to 1. Rounding errors of floats would break ties.

    Returns:
        `dict[str, int]`: Steps per task. They sum to `total`.
    """
    quotas = {task: total * share for task, share in shares.items()}
    counts = {task: math.floor(quota) for task, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda task: (counts[task] - quotas[task], task))
    for task in by_remainder[: total - sum(counts.values())]:
        counts[task] += 1
    return counts


def allocate_within(total: int, shares: Mapping[str, Fraction], most: int | None = None) -> dict[str, int]:
    """
    Splits `total` steps by `shares`, so that every task has at least one step and at most `most`.

    Task t's quota is s · share_t within these bounds, where s makes the quotas sum to `total`. They are rounded by
    [`allocate_steps`].

    Args:
        total (`int`): Steps to split: at least one for every task, and at most `most` for every task.
        shares (`Mapping[str, Fraction]`): Exact shares above 0 that sum to 1.
        most (`int`, *optional*): The most steps of a task. Defaults to no limit.

    Returns:
        `dict[str, int]`: Steps per task. They sum to `total`.
    """
    most = total if most is None else most

    def quotas(scale: Fraction) -> dict[str, Fraction]:
        return {task: min(max(scale * share, Fraction(1)), Fraction(most)) for task, share in shares.items()}

    # The quotas' sum grows with the scale, along a line between two ends at which a task leaves or meets a bound.
    ends = sorted({bound / share for share in shares.values() for bound in (1, most)})
    sums = [sum(quotas(end).values()) for end in ends]
    last = bisect_right(sums, total) - 1
    scale = ends[last]
    if sums[last] < total:
        scale += (ends[last + 1] - scale) * (total - sums[last]) / (sums[last + 1] - sums[last])
    return allocate_steps(total, {task: quota / total for task, quota in quotas(scale).items()})


def mixed_order(counts: Mapping[str, int], seed: int) -> tuple[str, ...]:
    """
    A random sequence of steps with exactly `counts[task]` steps of every task.

    Args:
        counts (`Mapping[str, int]`): Steps per task. The order of the mapping does not matter.
        seed (`int`): Seed of the sequence.

    Returns:
        `tuple[str, ...]`: The task of every step.
    """
    ordered = [task for task in sorted(counts) for _ in range(counts[task])]
    permutation = torch.randperm(len(ordered), generator=torch.Generator().manual_seed(seed))
    return tuple(ordered[i] for i in permutation.tolist())


def epoch_streams(
    num_rows: Mapping[str, int],
    fraction: float,
    data_seed: int,
    epoch: int,
    lengths: Mapping[str, Sequence[int] | None],
    rows_per_step: int,
) -> dict[str, RowStream]:
    """
    The row streams of one epoch, one per task. Each is a pure function of (data seed, epoch, task).

    Args:
        num_rows (`Mapping[str, int]`): Training rows per task.
        fraction (`float`): The share ρ.
        data_seed (`int`): The run's data seed.
        epoch (`int`): The epoch, from 0.
        lengths (`Mapping[str, Sequence[int]]`): Lengths of the rows of tasks whose steps have rows of similar length.
        rows_per_step (`int`): Rows of a task in an optimizer step, over all ranks.
    """
    return {
        task: RowStream(rows, fraction, derive_seed(data_seed, epoch, task, "rows"), lengths.get(task), rows_per_step)
        for task, rows in num_rows.items()
    }
