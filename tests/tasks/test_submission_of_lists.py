"""Predictions of several labels at once and of words: JSON lines with a list of label names for each row."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_alphavil.tasks import Task, write_submission
from support import kinds_run

WORDS = Dataset.from_dict({"words": [["the", "cat"], ["a", "dog", "sat"]]})
NAMES = Task("names", "token_classification", ("words",), ("O", "B-X", "I-X"), test=WORDS)
POSITIONS = Dataset.from_dict({"word_positions": [[1, 3], [1, 2, -1]]})
IDS = np.array([[-100, 1, -100, 2, -100], [-100, 0, 1, -100, -100]])


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_several_labels_at_once(tmp_path):
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "idx": [7, 8, 9]})
    task = Task(
        "tags", "sequence_classification", ("text",), ("x", "y"), problem_type="multi_label_classification", test=rows
    )
    path = write_submission(task, (np.array([[0.1, 2.0], [-1.0, 0.0], [-3.0, 1e-6]]), "hidden states"), tmp_path)
    assert path.name == "tags.jsonl"
    assert written(path) == [{"idx": 7, "labels": ["x", "y"]}, {"idx": 8, "labels": []}, {"idx": 9, "labels": ["y"]}]
    with pytest.raises(ValueError, match="1 predictions for 3 test rows"):
        write_submission(task, np.zeros((1, 2)), tmp_path)


@pytest.mark.parametrize("predictions", [IDS, np.where(IDS >= 0, IDS, 0)[..., None] == np.arange(3)])
def test_words(tmp_path, predictions):
    """Each word's label is at its first sub-word; a word that was cut off has none."""
    path = write_submission(NAMES, predictions, tmp_path, tokenized=POSITIONS)
    assert path.name == "names.jsonl"
    assert written(path) == [{"idx": 0, "labels": ["B-X", "I-X"]}, {"idx": 1, "labels": ["O", "B-X", None]}]


def test_words_without_a_prediction(tmp_path):
    with pytest.raises(ValueError, match="pass tokenized, the tokenised test split"):
        write_submission(NAMES, IDS, tmp_path)
    with pytest.raises(ValueError, match="row 0 has no prediction for the token 3"):
        write_submission(NAMES, IDS[:, :3], tmp_path, tokenized=POSITIONS)
    with pytest.raises(ValueError, match="row 1 has no prediction for the token 2"):
        write_submission(NAMES, [IDS[0], np.where(IDS[1] == 1, -100, IDS[1])], tmp_path, tokenized=POSITIONS)
    with pytest.raises(ValueError, match="1 predictions for 2 tokenised rows"):
        write_submission(NAMES, IDS[:1], tmp_path, tokenized=POSITIONS)
    assert not list(tmp_path.iterdir())


def test_masked_language_modelling_has_no_predictions(tmp_path):
    task = Task("prose", "masked_lm", ("text",), test=Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(ValueError, match="has no predictions to submit"):
        write_submission(task, np.zeros((1, 2)), tmp_path)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_predicts_the_words_of_each_row(tmp_path, monkeypatch, side):
    """Trainer predicts each row as if it were alone and not padded, whichever side the tokenizer pads."""
    tokenizer = kinds_run.word_tokenizer()
    tokenizer.padding_side = side
    monkeypatch.setattr(kinds_run, "word_tokenizer", lambda: tokenizer)
    trainer = kinds_run.kinds_trainer(tmp_path, per_device_eval_batch_size=2)
    task = kinds_run.every_kind()["names"]
    tokenized = task.tokenize("test", tokenizer)
    path = write_submission(task, trainer.predict("names").predictions, tmp_path, tokenized)
    assert tokenizer.padding_side == side
    model, expected = trainer.model.eval(), []
    for number, row in enumerate(tokenized):
        with torch.no_grad():
            logits = model(task="names", input_ids=torch.tensor([row["input_ids"]]))["logits"][0]
        labels = [task.labels[logits[place].argmax()] for place in row["word_positions"]]
        expected.append({"idx": number, "labels": labels})
    assert written(path) == expected
    assert len({label for row in expected for label in row["labels"]}) > 1
