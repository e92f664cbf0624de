"""A small encoder for runs whose scores do not matter, and runs that are refused."""

import json
import shutil
import sys
import time

import pytest
import torch
from transformers import BertConfig, BertModel

import run_glue_avil

NUM_WORDS = 3000

#: Processor seconds until a refusal; a second on a machine that is not busy.
SECONDS = 3


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Runs the script in this process; returns the one line with which it refuses its arguments."""

    def refusal(*words):
        monkeypatch.setattr(sys, "argv", ["run_glue_avil.py", *map(str, words)])
        started = time.process_time()
        with pytest.raises(SystemExit) as caught:
            run_glue_avil.main()
        assert time.process_time() - started < SECONDS
        assert caught.value.code == 2
        out, err = capsys.readouterr()
        assert "recipe" not in out  # that is said when training starts
        lines = err.splitlines()
        assert not any("Traceback" in line for line in lines)
        assert lines[-1].startswith("error: ")
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        return lines[-1].removeprefix("error: ")

    return refusal


@pytest.fixture(scope="session")
def small_encoder(real_encoder, tmp_path_factory):
    """The folder of a tiny BERT with random weights and the first words of the real encoder's tokenizer."""
    folder = tmp_path_factory.mktemp("small_encoder")
    tokenizer = json.loads((real_encoder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: number for word, number in vocabulary.items() if number < NUM_WORDS}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    shutil.copy(real_encoder / "tokenizer_config.json", folder)
    config = BertConfig(
        vocab_size=NUM_WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder
