"""The arithmetic of the benchmarks of task-parallel phases, checked by hand."""

import math

import pytest

from phase_parallel import summarise
from scaling import Measured, epoch_seconds, table

MEASURED = Measured(
    rows={"a": 100, "b": 60, "c": 30},
    seconds_per_row={"a": 0.1, "b": 0.1, "c": 0.2},
    alpha_seconds=8.0,
    alpha_batches=4,
    parameter_bytes=1000,
)


def seconds(num_processes, group_size, bandwidth=math.inf, times_as_fast=1.0):
    return epoch_seconds(MEASURED, num_processes, group_size, 10, bandwidth, times_as_fast)


def test_one_process_computes_everything():
    assert seconds(1, 1) == pytest.approx(10 + 6 + 6 + 8)
    assert seconds(1, 1, bandwidth=1.0, times_as_fast=10) == pytest.approx(3)  # it exchanges nothing


def test_by_rows_every_step_exchanges_gradients():
    # 10 + 6 + 3 steps, each an all-reduce of 2 · 3/4 · 1000 bytes.
    assert seconds(4, 4, bandwidth=100) == pytest.approx((22 + 8) / 4 + 19 * 15)


def test_by_tasks_the_longest_lane_and_the_deltas_count():
    # One group trains a, the other b and c. Three deltas of 1000 bytes. Four micro-batches of α on two processes.
    assert seconds(2, 1, bandwidth=100) == pytest.approx(12 + 3 * 10 + 8 / 2)
    # Two groups of two: half of the rows each, and an all-reduce of 1000 bytes at each of 10 steps (a) or 9 (b, c).
    assert seconds(4, 2, bandwidth=1000) == pytest.approx(max(6 + 9, 5 + 10) + 3 + 8 / 4)


def test_the_table_takes_the_best_number_of_groups():
    best = next(line for line in table(MEASURED, 10, 1.0).split("\n") if line.startswith("| 8 | NVLink"))
    by_rows, by_tasks = (seconds(1, 1) / seconds(8, size, 450e9) for size in (8, 4))
    assert best == f"| 8 | NVLink 4 | {by_rows:.1f} | {by_tasks:.1f} | 2 of 4 |"


def test_speed_up_is_the_median_of_ratios_within_repeats():
    repeats = [
        {"one process": 10.0, "task-parallel": 5.0, "side by side": 12.5},
        {"one process": 20.0, "task-parallel": 8.0, "side by side": 20.0},
        {"one process": 9.0, "task-parallel": 5.0, "side by side": 10.0},
    ]
    assert summarise(repeats, 2) == pytest.approx({"task-parallel": 2.0, "side by side": 1.8})
