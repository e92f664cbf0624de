"""Lanes, compared with the best possible assignment, and the batches that each rank gets."""

from itertools import product

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st

from hf_alphavil.data import EpochPlan, Phase, PlanBatchSampler, assign_lanes, padded_tokens

SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)


def longest(sizes, lanes, num_lanes):
    return max(sum(sizes[name] for name in sizes if lanes[name] == lane) for lane in range(num_lanes))


@given(SIZES, st.integers(1, 4))
def test_the_longest_lane_is_near_the_best(sizes, num_lanes):
    lanes = assign_lanes(sizes, num_lanes)
    every = (dict(zip(sizes, choice, strict=True)) for choice in product(range(num_lanes), repeat=len(sizes)))
    best = min(longest(sizes, one, num_lanes) for one in every)
    assert longest(sizes, lanes, num_lanes) <= best * (4 / 3 - 1 / (3 * num_lanes)) + 1e-9
    assert lanes == assign_lanes(dict(reversed(sizes.items())), num_lanes)


def test_the_largest_phase_goes_first_to_the_least_loaded_lane():
    assert assign_lanes({"qqp": 90, "rte": 20, "cb": 5, "mrpc": 30}, 2) == {"qqp": 0, "mrpc": 1, "rte": 1, "cb": 1}


def test_padded_tokens():
    rows = [{"input_ids": [1] * 4}, {"input_ids": torch.ones(6)}, {"input_ids": [[1, 2], [3, 4, 5]]}]
    assert padded_tokens(rows, batch_size=1) == 5
    assert padded_tokens(rows, batch_size=3) == 6
    assert padded_tokens([{"x": 1.0}], batch_size=4) == 1
    lengths = [{"input_ids": [1] * n} for n in range(1, 2001)]
    assert padded_tokens(lengths, batch_size=2, max_batches=500) == pytest.approx(2001 * 2 / 3, rel=0.05)


def test_every_rank_gets_the_batches_of_its_lane():
    """Each of two groups of two ranks gets what a world of two gets for its tasks, then batches to ignore."""
    num_rows = {"a": 11, "b": 4, "c": 6}
    steps = {"a": 3, "b": 1, "c": 2}
    phases = tuple(Phase(task, ((task,),) * count, fork=True) for task, count in steps.items())
    plan = EpochPlan(2, phases, 6)
    lanes = [plan.only({"a"}), plan.only({"b", "c"})]

    def batches(lanes, max_steps, world, rank):
        sampler = PlanBatchSampler(lambda: lanes, max_steps, num_rows, 1, 2, 2, 1.0, 7)
        assert len(list(sampler)) == len(sampler) == max_steps * 2 * world
        return list(BatchSamplerShard(sampler, world, rank))

    whole = [batches([plan], 6, 2, rank) for rank in range(2)]
    for rank in range(2):
        assert batches(lanes, 3, 4, rank) == whole[rank][:6]  # a: 3 steps of 2 batches
        assert batches(lanes, 3, 4, 2 + rank) == whole[rank][6:]
    shorter = [plan.only({"a"}), plan.only({"c"})]
    assert batches(shorter, 3, 4, 2)[4:] == [[0], [0]]
