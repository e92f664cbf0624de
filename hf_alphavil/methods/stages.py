"""Stages: spans of epochs that each pass through the whole learning-rate schedule, as separate runs would."""

from __future__ import annotations


def stage_schedule_range(epoch: int, first_epoch: int, num_stage_epochs: int, num_epochs: int) -> tuple[float, float]:
    """
    The schedule range of an epoch in a stage that passes through the run's whole learning-rate schedule.

    A stage has S epochs and starts with epoch s, in a run of E epochs. Its epoch e passes through the schedule from
    the position of epoch E·(e − s)/S to that of E·(e + 1 − s)/S. A schedule range is relative to the epoch's own
    position, e. Every stage therefore has a warm-up, which takes S/E of the run's warm-up steps.

    Args:
        epoch (`int`): The epoch e, from 0.
        first_epoch (`int`): The stage's first epoch s.
        num_stage_epochs (`int`): The stage's epochs S.
        num_epochs (`int`): The run's epochs E.

    Returns:
        `tuple[float, float]`: The `schedule_range` of the epoch's [`Phase`]. It may reach outside [0, 1].
    """
    start = num_epochs * (epoch - first_epoch) / num_stage_epochs
    end = num_epochs * (epoch + 1 - first_epoch) / num_stage_epochs
    return start - epoch, end - epoch
