"""A small encoder for runs whose scores do not matter."""

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel


@pytest.fixture(scope="session")
def small_encoder(real_encoder, tmp_path_factory):
    """The folder of a tiny BERT with random weights and the real encoder's tokenizer."""
    folder = tmp_path_factory.mktemp("small_encoder")
    tokenizer = AutoTokenizer.from_pretrained(real_encoder)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder
