"""The hash of a dataset's content: equal for equal rows however they are stored, different for any other row."""

import copy
import random

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Subset

from hf_alphavil.data.content_hash import content_hash

COLUMNS = {
    "ids": [[1, 2, 3], [4], [], [5, 6], None],
    "label": [0, 1, None, 1, 0],
    "score": [0.5, float("nan"), 1.0, -1.0, 2.0],
    "flag": [True, False, None, True, True],
    "text": ["a", "", "c", None, "é"],
    "choices": [[[1], [2, 3]], [[4]], [], [[], [5]], [[6]]],
}


def test_storage_does_not_count(tmp_path):
    whole = Dataset.from_dict(COLUMNS)
    whole.save_to_disk(tmp_path / "saved")
    parts = [Dataset.from_dict({name: values[i : i + 1] for name, values in COLUMNS.items()}) for i in range(5)]
    cast = [part.cast(whole.features) for part in parts]
    same = [Dataset.load_from_disk(tmp_path / "saved"), concatenate_datasets(cast), whole.with_format("numpy")]
    same += [whole.select([4, 3, 2, 1, 0]).select([4, 3, 2, 1, 0]), whole.select_columns(list(COLUMNS)[::-1])]
    assert {content_hash(dataset) for dataset in same} == {content_hash(whole)}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_cell_counts(name):
    whole = Dataset.from_dict(COLUMNS)
    changed = copy.deepcopy(COLUMNS)
    changed[name][0] = changed[name][1]
    swapped = [1, 0, 2, 3, 4]
    hashes = {
        content_hash(one) for one in (whole, Dataset.from_dict(changed), whole.select(swapped), whole.select([0]))
    }
    assert len(hashes) == 4


def rows():
    return [
        {"x": torch.arange(3.0) + i, "y": np.int64(i), "z": [i, "t"], "deep": {"k": (1.5, None)}} for i in range(6)
    ]


def test_rows_of_ones_own():
    same = content_hash(rows())
    assert same == content_hash(rows())
    for key, value in {"x": torch.arange(3.0) + 9, "y": np.int32(2), "z": [2, "u"], "deep": {"k": (1.5, 0)}}.items():
        changed = rows()
        changed[2][key] = value
        assert content_hash(changed) != same
    assert content_hash(Subset(rows(), [0, 1])) != content_hash(Subset(rows(), [1, 0]))


class Augmented(list):
    def __getitem__(self, index):
        return {"x": torch.randn(2), "y": random.random(), "z": np.random.rand()}


def test_random_rows_have_no_hash_and_cost_no_random_numbers():
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    assert content_hash(Augmented(range(5))) is None
    assert content_hash(Subset(Augmented(range(5)), [1, 2])) is None
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
