"""The example that turns a Trainer script into one with an auxiliary task: three lines differ, and both run."""

import ast
import difflib
import random
import runpy
from pathlib import Path
from unittest import mock

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from support.kinds_run import WORDS, word_tokenizer

FOLDER = Path(__file__).parents[2] / "examples" / "convert"


def code_of(name):
    """The lines of a script below its docstring."""
    text = (FOLDER / name).read_text()
    return text.splitlines()[ast.parse(text).body[0].end_lineno :]


def test_three_lines_of_code_differ():
    lines = list(difflib.ndiff(code_of("before.py"), code_of("after.py")))
    changed = [line for line in lines if line[:2] == "+ " and line[2:].strip()]
    removed = [line for line in lines if line[:2] == "- " and line[2:].strip()]
    assert len(changed) <= 3
    assert len(removed) == 1  # its replacement is among the changed lines


@pytest.fixture
def arguments(tmp_path):
    """An encoder, data and an output folder."""
    draw = random.Random(0)
    for name, count, labels in (("reviews", 24, [0, 1]), ("reviews_dev", 8, [0, 1]), ("stars", 24, [1, 2, 3])):
        rows = [f"{' '.join(draw.choices(WORDS, k=5))},{draw.choice(labels)}" for _ in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=25, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "encoder")
    word_tokenizer().save_pretrained(tmp_path / "encoder")
    with mock.patch.object(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache")):
        yield ["script", str(tmp_path / "encoder"), str(tmp_path)]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_both_scripts_run_and_write_the_same_kind_of_folder(arguments, tmp_path, monkeypatch):
    weights = {}
    for name in ("before", "after"):
        monkeypatch.setattr("sys.argv", [*arguments, str(tmp_path / name)])
        trainer = runpy.run_path(str(FOLDER / f"{name}.py"))["trainer"]
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / name / "model").eval()
        predicted = trainer.predict(trainer.eval_dataset if name == "before" else trainer.eval_dataset["reviews"])
        with torch.no_grad():
            texts = [line.split(",")[0] for line in (tmp_path / "reviews_dev.csv").read_text().splitlines()[1:]]
            logits = model(**word_tokenizer()(texts, padding=True, return_tensors="pt")).logits
        np.testing.assert_allclose(logits.numpy(), predicted.predictions, atol=1e-5)
        weights[name] = load_file(tmp_path / name / "model" / "model.safetensors")
    assert weights["before"].keys() == weights["after"].keys()
    assert trainer.task_setup.heads["stars"]["labels"] == ["1", "2", "3"]
