"""Stages: runs of epochs that each walk the whole learning-rate schedule, as separate runs would."""

from __future__ import annotations


def stage_schedule_range(epoch: int, first_epoch: int, num_stage_epochs: int, num_epochs: int) -> tuple[float, float]:
    """
    The stretch of an epoch whose stage walks the schedule of the whole run, from its start to its end.

    Epoch e of a stage of S epochs from epoch s, in a run of E, walks the schedule from the place of epoch E·(e − s)/S
    to that of E·(e + 1 − s)/S; a stretch counts from the epoch's own place, e. Each stage passes through a warm-up, in
    S/E of its steps.

    Args:
        epoch (`int`): The epoch e, from 0.
        first_epoch (`int`): The stage's first epoch s.
        num_stage_epochs (`int`): The stage's epochs S.
        num_epochs (`int`): The run's epochs E.

    Returns:
        `tuple[float, float]`: For [`Phase`]'s `stretch`; it may lie outside [0, 1].
    """
    start = num_epochs * (epoch - first_epoch) / num_stage_epochs
    end = num_epochs * (epoch + 1 - first_epoch) / num_stage_epochs
    return start - epoch, end - epoch
