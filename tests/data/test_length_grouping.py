"""Steps of rows of similar length: how they are drawn, and where lengths come from."""

from collections import Counter

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Subset

from hf_alphavil.data import TaskDataset
from hf_alphavil.data.length_groups import group_by_length
from hf_alphavil.data.length_ordered import LengthOrdered
from hf_alphavil.data.row_lengths import RowLengths
from hf_alphavil.data.sampling import RowStream


def grouped(rows, lengths, size, seed=0):
    return group_by_length(rows, lengths, size, torch.Generator().manual_seed(seed))


def padding(rows, lengths, size):
    """Padded tokens by tokens."""
    steps = [[lengths[row] for row in rows[i : i + size]] for i in range(0, len(rows), size)]
    return sum(max(step) * len(step) for step in steps) / sum(map(sum, steps))


@given(st.lists(st.integers(1, 500), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 9))
def test_every_row_is_there_and_whole_steps(lengths, size, seed):
    rows = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    order = grouped(rows, lengths, size, seed)
    missing = -len(rows) % size
    assert Counter(order) == Counter(rows) + Counter(rows[i % len(rows)] for i in range(missing))
    assert order == grouped(rows, lengths, size, seed)


def test_a_step_has_similar_lengths_and_steps_are_in_random_order():
    lengths = torch.randint(10, 129, (640,), generator=torch.Generator().manual_seed(1)).tolist()
    rows = torch.randperm(640, generator=torch.Generator().manual_seed(2)).tolist()
    order = grouped(rows, lengths, 16)
    assert padding(rows, lengths, 16) > 1.6
    assert padding(order, lengths, 16) < 1.1
    longest = [max(lengths[row] for row in order[i : i + 16]) for i in range(0, 640, 16)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)
    # Neighbours differ from epoch to epoch, even if one window holds all rows.
    first, second = (
        {frozenset(grouped(rows[:128], lengths, 8, seed)[i : i + 8]) for i in range(0, 128, 8)} for seed in (0, 1)
    )
    assert len(first & second) < 4


def test_a_stream_with_lengths_wraps_by_whole_steps():
    lengths = list(range(10, 30))
    stream = RowStream(20, 1.0, seed=3, lengths=lengths, rows_per_step=8)
    first = stream.take(24)
    assert set(first) == set(range(20))
    assert stream.take(8) == first[:8]
    assert len(set(RowStream(20, 0.5, 0, lengths, 5).take(10))) == 10


def table(**columns):
    return TaskDataset(datasets.Dataset.from_dict(columns), "a")


def test_lengths_that_a_dataset_stores():
    tokens = [[1], [1, 2, 3], [], [1, 2]]
    rows = table(input_ids=tokens)
    assert RowLengths("auto").of(rows) == [1, 3, 0, 2]
    assert RowLengths("off").of(rows) is None
    assert RowLengths("auto").of(TaskDataset(rows.dataset.with_format("torch"), "a")) == [1, 3, 0, 2]
    assert RowLengths("auto").of(TaskDataset(rows.dataset.select([3, 1]), "a")) == [2, 3]
    assert RowLengths("auto").of(TaskDataset(Subset(rows.dataset, [1, 0]), "a")) == [3, 1]
    fixed = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("int64"), length=2)})
    padded = datasets.Dataset.from_dict({"input_ids": [[1, 2], [3, 0]]}, features=fixed)
    assert RowLengths("auto").of(TaskDataset(padded, "a")) == [2, 2]
    assert RowLengths("auto").of(table(input_ids=[[[1, 2], [1]], [[1], [1, 2, 3]]])) == [2, 3]
    assert RowLengths("auto", "size").of(table(input_ids=tokens, size=[4, 3, 2, 1])) == [4, 3, 2, 1]
    assert RowLengths("auto").of(table(x=[1.0, 2.0])) is None


@pytest.mark.parametrize("kind", [list, tuple])
def test_lengths_of_rows_in_a_list(kind):
    """As those of an Arrow table with the same rows."""
    rows = [{"input_ids": [1] * n, "labels": 0} for n in (1, 3, 0, 2)]
    stored = datasets.Dataset.from_list(rows)
    for wrapped in (lambda dataset: dataset, lambda dataset: Subset(dataset, [3, 1])):
        lengths = RowLengths("auto").of(TaskDataset(wrapped(kind(rows)), "a"))
        assert lengths == RowLengths("auto").of(TaskDataset(wrapped(stored), "a"))
    choices = kind([{"input_ids": [[1, 2], [1]]}, {"input_ids": torch.zeros(3, 4)}])
    assert RowLengths("auto").of(TaskDataset(choices, "a")) == [2, 4]
    sized = kind([row | {"size": 9 - i} for i, row in enumerate(rows)])
    assert RowLengths("auto", "size").of(TaskDataset(sized, "a")) == [9, 8, 7, 6]
    assert RowLengths("off").of(TaskDataset(kind(rows), "a")) is None
    assert RowLengths("auto").of(TaskDataset(kind([*rows, {"labels": 0}]), "a")) is None
    assert RowLengths("auto").of(TaskDataset(kind([{"x": 1.0}]), "a")) is None


def test_a_list_that_makes_its_rows_is_not_read():
    class Made(list):
        def __getitem__(self, row):
            return pytest.fail("read")

    assert RowLengths("auto").of(TaskDataset(Made([{"input_ids": [1]}]), "a")) is None


class Own(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, row):
        torch.rand(1)
        return {"input_ids": torch.zeros(2, row + 1) if row else torch.zeros(5), "labels": 0}


def test_lengths_of_ones_own_dataset_are_read_once_and_cost_no_random_numbers():
    rows = TaskDataset(Own(), "a")
    assert RowLengths("auto").of(rows) is None
    state = torch.get_rng_state()
    lengths = RowLengths("on")
    assert lengths.of(rows) == [5, 2, 3]
    assert torch.equal(state, torch.get_rng_state())
    assert lengths.of(rows) is lengths.of(rows)
    with pytest.raises(ValueError, match="row 0 of task 'a' has no list of `input_ids`"):
        RowLengths("on").of(table(x=[1.0]))


def test_longest_first_and_back():
    rows = table(input_ids=[[1] * n for n in (3, 9, 5, 9)])
    order = RowLengths("auto").longest_first(rows, range(4))
    assert order == [1, 3, 2, 0]
    ordered = LengthOrdered(rows, order)
    read = torch.tensor([len(ordered[i]["input_ids"]) for i in range(4)]).numpy()
    assert ordered.restored((read, {"x": read}))[0].tolist() == [3, 9, 5, 9]
    assert ordered.restored({"x": read})["x"].tolist() == [3, 9, 5, 9]
    assert ordered.restored(read[:2]).tolist() == [9, 9]
