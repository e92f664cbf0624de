"""Batches carry the name of their task, have rows of one task, and hold only what the model takes."""

import pytest
import torch
from transformers import default_data_collator

from hf_alphavil.data import BATCHES_KEY, TASK_KEY, TaskCollator, TaskDataset

ROWS = [{"x": torch.ones(2), "idx": i, "text": "word", "labels": i % 2} for i in range(4)]


def test_examples_and_batches_carry_the_name():
    dataset = TaskDataset(ROWS, "rte")
    assert dataset[1][TASK_KEY] == "rte"
    assert dataset.labels() == [0, 1, 0, 1]
    batch = TaskCollator({"rte": default_data_collator}, {"x", "labels"})([dataset[0], dataset[1]])
    assert set(batch) == {"x", "labels", TASK_KEY}
    assert batch[TASK_KEY] == "rte"


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
