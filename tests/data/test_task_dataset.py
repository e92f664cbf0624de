"""Batches carry the name of their task, have rows of one task, and hold only what the model takes."""

import datasets
import pytest
import torch
from torch.utils.data import DataLoader, Subset
from transformers import default_data_collator

from hf_alphavil.data import BATCHES_KEY, TASK_KEY, TaskCollator, TaskConcatDataset, TaskDataset

ROWS = [{"x": torch.ones(2), "idx": i, "text": "word", "labels": i % 2} for i in range(4)]


def test_examples_and_batches_carry_the_name():
    dataset = TaskDataset(ROWS, "rte")
    assert dataset[1][TASK_KEY] == "rte"
    assert dataset.labels() == [0, 1, 0, 1]
    batch = TaskCollator({"rte": default_data_collator}, {"x", "labels"})([dataset[0], dataset[1]])
    assert set(batch) == {"x", "labels", TASK_KEY}
    assert batch[TASK_KEY] == "rte"


def test_labels_of_an_arrow_table_are_read_at_once(monkeypatch):
    table = datasets.Dataset.from_dict({"x": [1, 2, 3], "labels": [0, 1, 1]})
    monkeypatch.setattr(datasets.arrow_dataset.Column, "__iter__", lambda column: pytest.fail("row by row"))
    assert TaskDataset(table, "rte").labels() == [0, 1, 1]
    assert torch.equal(torch.stack(TaskDataset(table.with_format("torch"), "rte").labels()), torch.tensor([0, 1, 1]))


def test_open_ended_forward_keeps_tensors_and_drops_text():
    collate = TaskCollator({"rte": default_data_collator}, {"labels"}, keep_unknown_tensors=True)
    assert set(collate([TaskDataset(ROWS, "rte")[0]])) == {"x", "idx", "labels", TASK_KEY}


def test_examples_of_several_tasks_make_a_batch_of_each():
    collate = TaskCollator({"rte": default_data_collator, "cb": lambda rows: {"count": len(rows)}})
    rte, cb = TaskDataset(ROWS, "rte"), TaskDataset(ROWS, "cb")
    batch = collate([rte[1], rte[3], cb[0], cb[1], cb[2]])
    assert batch.keys() == {BATCHES_KEY}
    assert list(batch[BATCHES_KEY]) == ["rte", "cb"]  # in their order
    assert batch[BATCHES_KEY]["cb"] == {"count": 3, TASK_KEY: "cb"}
    assert batch[BATCHES_KEY]["rte"]["labels"].tolist() == [1, 1]
    assert batch[BATCHES_KEY]["rte"][TASK_KEY] == "rte"


def test_iterable_dataset_is_refused():
    with pytest.raises(TypeError, match="no length or no random access"):
        TaskDataset(iter(ROWS), "rte")


# ---- Whole batches


class Counted:
    """Rows that are read one by one, and note it."""

    def __init__(self, rows=ROWS):
        self.rows = rows
        self.reads = []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        self.reads.append(number)
        return self.rows[number]


class Batched(Counted):
    """Rows that can also be read as a batch."""

    def __getitem__(self, number):
        return super().__getitem__(number)

    def __getitems__(self, numbers):
        self.reads.append(tuple(numbers))
        return [self.rows[number] for number in numbers]


class Changed(Batched):
    """Its rows differ from those of the batches that it inherits."""

    def __getitem__(self, number):
        return {**super().__getitem__(number), "more": 1}


class Short(Batched):
    """Its batches lack a row."""

    def __getitem__(self, number):
        return super().__getitem__(number)

    def __getitems__(self, numbers):
        return super().__getitems__(numbers)[1:]


def test_a_loader_reads_a_batch_at_once():
    one, two, three = Batched(), Counted(), Batched()
    joined = TaskConcatDataset([TaskDataset(one, "a"), TaskDataset(two, "b"), TaskDataset(three, "c")])
    batches = [[3, 1, 1], [4, 7], [8, 11, 2, 6]]
    loaded = list(DataLoader(joined, batch_sampler=batches, collate_fn=list))
    assert one.reads == [(3, 1, 1), (2,)]
    assert two.reads == [0, 3, 2]
    assert three.reads == [(0, 3)]
    assert [[(row["idx"], row[TASK_KEY]) for row in batch] for batch in loaded] == [
        [(3, "a"), (1, "a"), (1, "a")],
        [(0, "b"), (3, "b")],
        [(0, "c"), (3, "c"), (2, "a"), (2, "b")],
    ]
    for batch, numbers in zip(loaded, batches, strict=True):
        assert [row["idx"] for row in batch] == [joined[number]["idx"] for number in numbers]


def test_a_slice_is_read_at_once():
    rows = Batched()
    assert [row["idx"] for row in TaskDataset(Subset(rows, [2, 0, 3]), "a").__getitems__([1, 2])] == [0, 3]
    assert rows.reads == [(0, 3)]


@pytest.mark.parametrize("make", [Changed, Short])
@pytest.mark.parametrize("sliced", [False, True])
def test_a_dataset_whose_batches_are_not_its_rows_is_read_by_row(make, sliced):
    rows = make()
    dataset = TaskDataset(Subset(rows, range(4)) if sliced else rows, "a")
    assert [row.keys() for row in dataset.__getitems__([1, 2])] == [dataset[1].keys(), dataset[2].keys()]
    assert [read for read in rows.reads if isinstance(read, int)][:2] == [1, 2]


@pytest.mark.parametrize("layout", [None, "torch", "numpy"])
def test_arrow_rows_are_those_of_single_reads(layout):
    columns = {"input_ids": [[1, 2], [3], [4, 5, 6]], "score": [0.5, 1.5, 2.5], "text": ["x", "y", "z"]}
    dataset = TaskDataset(datasets.Dataset.from_dict(columns).with_format(layout), "a")
    for row, number in zip(dataset.__getitems__([2, 0, 0]), [2, 0, 0], strict=True):
        alone = dataset[number]
        assert list(row) == list(alone)
        for name, value in alone.items():
            assert type(row[name]) is type(value)
            assert (row[name] == value).all() if name == "input_ids" and layout else row[name] == value


def test_a_transform_sees_single_rows():
    """A transform that pads its batch would otherwise give other rows."""
    seen = []

    def transform(batch):
        seen.append(len(batch["x"]))
        width = max(map(len, batch["x"]))
        return {"x": [row + [0] * (width - len(row)) for row in batch["x"]]}

    rows = datasets.Dataset.from_dict({"x": [[1], [1, 2], [1, 2, 3]]})
    dataset = TaskDataset(rows, "a")
    rows.set_transform(transform)
    assert [row["x"] for row in dataset.__getitems__([0, 2])] == [[1], [1, 2, 3]]
    assert seen == [1, 1]


@pytest.mark.parametrize("make", [Batched, Counted])
def test_a_row_that_cannot_be_read_is_named(make):
    class Broken(make):
        def __getitem__(self, number):
            if number == 2:
                raise KeyError("x")
            return super().__getitem__(number)

        def __getitems__(self, numbers):
            return [self[number] for number in numbers]

    with pytest.raises(ValueError, match="row 2 of task 'a' cannot be read: KeyError: 'x'"):
        TaskDataset(Broken(), "a").__getitems__([1, 2])
    with pytest.raises(TypeError, match="row 0 of task 'a' is a list"):
        TaskDataset(make([[1]]), "a").__getitems__([0])
