"""Plans, steps, rows and mixtures are pure functions, checked by hand counts and against scipy."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, skip_first_batches
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from hf_alphavil.data import (
    JOINT_PHASE,
    EpochPlan,
    Phase,
    PlanBatchSampler,
    allocate_steps,
    allocate_within,
    mixed_order,
    sampling_shares,
    steps_per_task,
)
from hf_alphavil.data.sampling import RowStream

ROWS = {"a": 10, "b": 23, "c": 5}


def plan(epoch=0, phases=None, nominal=None):
    phases = phases or (Phase("a", (("a",),) * 2, fork=True), Phase("b", (("b",),) * 3, fork=True))
    return EpochPlan(epoch, phases, nominal or sum(phase.num_steps for phase in phases))


def test_locate_and_iterate():
    it = plan()
    assert [it.locate(step)[0].name for step in range(5)] == ["a", "a", "b", "b", "b"]
    assert list(it) == [("a",), ("a",), ("b",), ("b",), ("b",)]
    assert [it.locate(step)[1] for step in range(5)] == [0, 1, 0, 1, 2]
    for outside in (-1, 5):
        with pytest.raises(IndexError, match="which has 5 steps"):
            it.locate(outside)


def test_forks_share_their_range_of_the_schedule():
    """N·(e + i/K), computed by hand for K = 2 and 3 in epoch 2 of plans of 5 steps."""
    assert [plan(2).schedule_position(step) for step in range(5)] == pytest.approx(
        [10, 12.5, 10, 10 + 5 / 3, 10 + 10 / 3]
    )
    joint = Phase(JOINT_PHASE, (("a",), ("b",)), schedule_range=(0.0, 0.4))
    fork = Phase("a", (("a",),) * 3, fork=True, schedule_range=(0.4, 1.0))
    assert [plan(0, (joint, fork)).schedule_position(step) for step in range(5)] == pytest.approx([0, 1, 2, 3, 4])


def test_one_joint_phase_has_trainers_own_schedule():
    it = plan(3, (Phase(JOINT_PHASE, (("a",), ("b",), ("a",))),))
    assert [it.schedule_position(step) for step in range(3)] == pytest.approx([9, 10, 11])


def test_steps_per_task():
    assert steps_per_task(ROWS, 4) == {"a": 3, "b": 6, "c": 2}
    assert steps_per_task(ROWS, 4, fraction=0.5) == {"a": 2, "b": 3, "c": 1}
    assert steps_per_task(ROWS, 4, max_phase_steps=2) == {"a": 2, "b": 2, "c": 2}
    assert steps_per_task({"tiny": 1}, 64, fraction=0.01) == {"tiny": 1}


def test_row_stream_sees_each_row_once_then_wraps():
    stream = RowStream(7, 1.0, seed=3)
    first, second = stream.take(5), stream.take(9)
    assert sorted((first + second)[:7]) == list(range(7))
    assert (first + second)[7:] == (first + second)[:7]
    assert len(set(RowStream(100, 0.3, seed=0).take(30))) == 30
    assert RowStream(100, 0.3, seed=0).take(60)[30:] == RowStream(100, 0.3, seed=0).take(30)


@given(
    st.integers(0, 200),
    st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 1000), min_size=1, max_size=8),
)
def test_allocation_by_largest_remainders(total, steps):
    shares = sampling_shares("proportional", steps, dict.fromkeys(steps, 1.0), 1.0)
    counts = allocate_steps(total, shares)
    assert sum(counts.values()) == total
    assert sum(shares.values()) == 1
    assert all(abs(counts[task] - total * share) < 1 for task, share in shares.items())
    assert allocate_steps(sum(steps.values()), shares) == steps


@given(
    st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 1000), min_size=1, max_size=8),
    st.sampled_from([0.1, 0.5, 1.0, 2.0, math.inf]),
    st.integers(0, 1000),
)
def test_allocation_within_bounds(steps, temperature, room):
    total, most = sum(steps.values()), max(steps.values()) + room
    shares = sampling_shares("temperature", steps, {}, temperature)
    counts = allocate_within(total, shares, most)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    assert max(counts.values()) <= most
    by_share = [counts[task] for task in sorted(steps, key=steps.__getitem__)]
    assert all(one <= other + 1 for one, other in pairwise(by_share))
    if temperature == 1:
        assert counts == steps
    free = [task for task in steps if 1 < counts[task] < most]
    scales = [counts[task] / shares[task] for task in free]  # equal, were it not for the rounding
    slack = [1 / shares[task] for task in free]
    assert all(abs(scales[0] - scale) <= slack[0] + more for scale, more in zip(scales, slack, strict=True))


def test_allocation_within_bounds_by_hand():
    steps = {"target": 10, "large": 300, "small": 1}

    def lengths(temperature, most=None, of=steps):
        return allocate_within(sum(of.values()), sampling_shares("temperature", of, {}, temperature), most)

    assert lengths(math.inf) == {"target": 103, "large": 104, "small": 104}
    assert lengths(2.0) == {"target": 46, "large": 251, "small": 14}  # 311 times 3.16, 17.32 and 1, over 21.48
    assert lengths(0.5) == {"target": 1, "large": 309, "small": 1}  # 0.3, 310.7 and 0.003
    assert lengths(0.5, most=7, of={"a": 6, "b": 7, "c": 2}) == {"a": 7, "b": 7, "c": 1}  # 6.1, 8.3 and 0.7
    assert lengths(0.5, most=8, of={"a": 6, "b": 7, "c": 2}) == {"a": 6, "b": 8, "c": 1}


def test_sampling_shares():
    steps, weights = {"a": 1, "b": 3}, {"a": 3.0, "b": -1.0}
    assert sampling_shares("uniform", steps, weights, 1) == {"a": Fraction(1, 2), "b": Fraction(1, 2)}
    assert sampling_shares("weights", steps, weights, 1) == {"a": 1, "b": 0}
    tempered = sampling_shares("temperature", steps, weights, 2.0)
    assert float(tempered["b"] / tempered["a"]) == pytest.approx(3**0.5)
    with pytest.raises(ValueError, match="every task has weight 0"):
        sampling_shares("weights", steps, {"a": 0.0, "b": 0.0}, 1)


def test_mixed_order_is_random_and_ignores_the_order_of_the_mapping():
    counts = {"a": 30, "b": 10}
    assert Counter(mixed_order(counts, 1)) == counts
    assert mixed_order(counts, 1) == mixed_order({"b": 10, "a": 30}, 1) != mixed_order(counts, 2)
    first = Counter(mixed_order(counts, seed)[0] for seed in range(400))
    assert chisquare([first["a"], first["b"]], [300, 100]).pvalue > 1e-4


def sampler(batch_size=2, batches_per_step=2, epoch=0, num_rows=ROWS):
    steps = steps_per_task(num_rows, batch_size * batches_per_step)
    phases = tuple(Phase(task, (task,) * count, fork=True) for task, count in steps.items())
    whole = plan(epoch, phases)
    return PlanBatchSampler(
        lambda: [whole], whole.nominal_steps, num_rows, batch_size, 1, batches_per_step, 1.0, data_seed=7
    )


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_row_once_in_task_pure_steps_at_any_world_size(world_size):
    """Together the ranks get the batches of a single process; all batches of a step are of one task."""
    whole = list(sampler(batch_size=4 // world_size, batches_per_step=world_size))
    shards = [
        list(BatchSamplerShard(sampler(4 // world_size, world_size), world_size, rank)) for rank in range(world_size)
    ]
    assert {len(shard) for shard in shards} == {len(whole) // world_size}
    dealt = [row for batches in zip(*shards, strict=True) for batch in batches for row in batch]
    assert dealt == [row for batch in sampler(4, 1) for row in batch]
    assert set(dealt) == set(range(sum(ROWS.values())))
    ends = {"a": 10, "b": 33, "c": 38}
    for batches in zip(*shards, strict=True):
        owners = {min(task for task, end in ends.items() if row < end) for batch in batches for row in batch}
        assert len(owners) == 1


def test_epochs_differ_and_resume_skips():
    assert list(sampler(epoch=0)) != list(sampler(epoch=1))
    loader = DataLoader(ConcatDataset([TensorDataset(torch.arange(38))]), batch_sampler=sampler())
    all_batches = [batch[0].tolist() for batch in loader]
    assert [batch[0].tolist() for batch in skip_first_batches(loader, 5)] == all_batches[5:]
    assert len(loader) == len(all_batches)
