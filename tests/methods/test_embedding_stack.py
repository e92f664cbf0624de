"""The deltas of an embedding, against the ordinary stack of the same deltas."""

import pytest
import torch
from torch import nn

from hf_alphavil.methods import DeltaBank
from hf_alphavil.methods.delta_stack import DeltaStack
from hf_alphavil.methods.embedding_stack import EmbeddingStack
from hf_alphavil.methods.storage import Storage

ROWS, WIDTH, PHASES = 40, 5, 3


def stacks_with(moved_rows, seed=0):
    """An ordinary stack and an embedding's, with the same deltas, and θ0."""
    draw = torch.Generator().manual_seed(seed)
    start = torch.randn(ROWS, WIDTH, generator=draw)
    stacks = [of(PHASES, start, Storage()) for of in (DeltaStack, EmbeddingStack)]
    record(stacks, start, moved_rows, draw)
    return stacks, start, draw


def record(stacks, start, moved_rows, draw):
    for phase, rows in enumerate(moved_rows):
        theta = start.clone()
        theta[rows] += torch.randn(len(rows), WIDTH, generator=draw)
        for stack in stacks:
            stack.record(phase, theta, start)


def assert_equal(stacks, start, phases, draw):
    theta = torch.randn(ROWS, WIDTH, generator=draw)
    thetas = [theta.clone(), theta.clone()]
    for _ in range(2):
        alpha, gradient = torch.randn(len(phases), generator=draw), torch.randn(ROWS, WIDTH, generator=draw)
        for coefficients in (alpha, None):
            for stack, merged in zip(stacks, thetas, strict=True):
                stack.merge_into(merged, start, phases, coefficients)
            torch.testing.assert_close(*thetas)
        torch.testing.assert_close(*(stack.products(gradient, phases) for stack in stacks))


@pytest.mark.parametrize(
    "moved_rows", [[[1, 2], [2, 39], [0]], [[1], [], [2]], [[], [], []], [range(ROWS), [1], [2]], [range(15)] * 3]
)
def test_merges_and_products_are_those_of_an_ordinary_stack(moved_rows):
    stacks, start, draw = stacks_with([list(rows) for rows in moved_rows])
    for phases in ([0, 1, 2], [0, 2], [1]):  # a phase that diverged leaves no delta
        assert_equal(stacks, start, phases, draw)
    record(stacks, start, [[5], [6], [7]], draw)  # the next epoch's
    assert_equal(stacks, start, [0, 1, 2], draw)


def test_rows_that_a_later_phase_has_moved_are_theta0_again():
    """As after a phase that diverged and left no delta."""
    (plain, stack), start, draw = stacks_with([[1, 2], [2, 39], []])
    parameter, expected = nn.Parameter(start.clone()), start.clone()
    for _ in range(2):
        stack.merge_into(parameter.detach(), start, [0, 1, 2], None)
        plain.merge_into(expected, start, [0, 1, 2], None)
        torch.testing.assert_close(parameter.detach(), expected)
        with torch.no_grad():
            parameter += torch.randn(ROWS, WIDTH, generator=draw)


def test_rows_that_have_not_moved_are_passed_over(monkeypatch):
    (_, stack), start, _ = stacks_with([[1, 2], [2, 39], []])
    shapes, mv = [], torch.mv
    monkeypatch.setattr(torch, "mv", lambda matrix, vector: shapes.append(matrix.shape) or mv(matrix, vector))
    stack.products(start, [0, 1, 2])
    assert shapes == [(PHASES, 3 * WIDTH)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e-40])
def test_any_value_but_zero_has_moved(value):
    start = torch.zeros(ROWS, WIDTH)
    stack = EmbeddingStack(1, start, Storage())
    theta = start.clone()
    theta[7, 3] = value
    stack.record(0, theta, start)
    merged = start.clone()
    stack.merge_into(merged, start, [0], torch.ones(1))
    torch.testing.assert_close(merged, theta, rtol=0, atol=0, equal_nan=True)


def test_the_bank_gives_embeddings_this_stack():
    bank = DeltaBank(nn.Sequential(nn.Embedding(ROWS, WIDTH), nn.Linear(WIDTH, 2)))
    bank.open(["a"])
    bank.record("a")
    assert [type(stack) for stack in bank.stacks] == [EmbeddingStack, DeltaStack, DeltaStack]
