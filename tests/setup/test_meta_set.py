"""The rows on which α is fitted, held out from datasets of a user's own: labels of every type."""

from collections import Counter

import numpy as np
import pytest
import torch

from hf_alphavil import MultitaskTrainer
from support.toy_run import TARGET, toy_args, toy_data, toy_model

ROWS = 100
SCORES = {
    "float": float,
    "np.float32": np.float32,
    "np.float64": np.float64,
    "array": lambda score: np.array(score, dtype=np.float32),
    "tensor": lambda score: torch.tensor(score, dtype=torch.float32),
    "bfloat16": lambda score: torch.tensor(score, dtype=torch.bfloat16),
    "tensor of one": lambda score: torch.tensor([score], dtype=torch.float64),
    "whole numbers first": lambda score: int(score) if score < 1 else score,
}
CLASSES = {
    "int": int,
    "bool": bool,
    "str": str,
    "np.int64": np.int64,
    "np.bool": np.bool_,
    "array": np.array,
    "tensor": torch.tensor,
}


def held_out(tmp_path, labels, convert):
    """Labels of the meta set of a target whose labels are converted."""
    x = torch.randn(len(labels), 6, dtype=torch.float64)
    rows = [{"x": x[i], "labels": convert(label)} for i, label in enumerate(labels)]
    train, _ = toy_data()
    args = toy_args(tmp_path, alpha_data="train_holdout", num_train_epochs=1)
    trainer = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train | {TARGET: rows})
    assert len(trainer.meta_set) + len(trainer.train_datasets[TARGET]) == len(labels)
    return [row["labels"] for row in trainer.meta_set]


@pytest.mark.parametrize("convert", SCORES.values(), ids=SCORES)
def test_scores_are_not_taken_for_classes(convert, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("hf_alphavil.setup.meta_set.split_holdout", lambda *a: drawn.append(a) or ([0], [1]))
    x = torch.zeros(6)
    rows = [{"x": x, "labels": convert(row / 7)} for row in range(ROWS)]
    args = toy_args(tmp_path, alpha_data="train_holdout")
    MultitaskTrainer(model=toy_model(), args=args, train_dataset=toy_data()[0] | {TARGET: rows})
    assert drawn[0][3] is None


@pytest.mark.parametrize("convert", CLASSES.values(), ids=CLASSES)
def test_classes_are_stratified(convert, tmp_path):
    labels = held_out(tmp_path, [int(row < 30) for row in range(ROWS)], convert)
    assert Counter(map(str, labels)) == {str(convert(0)): 7, str(convert(1)): 3}


@pytest.mark.parametrize("rare", [1, 2, 3, 4, 5])
def test_a_rare_class_of_the_target_is_no_reason_to_refuse(rare, tmp_path):
    labels = held_out(tmp_path, [int(row < rare) for row in range(ROWS)], int)
    assert len(labels) == 10
    assert sum(labels) < rare
