"""A small encoder for runs whose scores do not matter."""

import json
import shutil

import pytest
import torch
from transformers import BertConfig, BertModel

NUM_WORDS = 3000


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
