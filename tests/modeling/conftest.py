"""Fixtures: saved encoders, and multitask models on them."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel, PreTrainedConfig

from hf_alphavil.modeling import MultitaskModel
from support.modeling_helpers import ENCODERS, TASKS, shake

# Much of their code is copied from that of BERT and of Qwen2.
COPIES = ("roberta", "electra", "llama")


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in COPIES else []) for name in ENCODERS],
)
def architecture(request) -> str:
    return request.param


@pytest.fixture
def encoder_config(architecture) -> PreTrainedConfig:
    return ENCODERS[architecture]()


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory):
    """Returns a function from an architecture to the folder of a saved base model."""
    made: dict[str, str] = {}

    def folder(architecture: str) -> str:
        if architecture not in made:
            torch.manual_seed(0)
            made[architecture] = str(tmp_path_factory.mktemp(architecture))
            AutoModel.from_config(ENCODERS[architecture]()).save_pretrained(made[architecture])
        return made[architecture]

    return folder


@pytest.fixture
def encoder_folder(architecture, encoder_folders) -> str:
    return encoder_folders(architecture)


@pytest.fixture
def bert_folder(encoder_folders) -> str:
    return encoder_folders("bert")


@pytest.fixture
def model(encoder_folder) -> MultitaskModel:
    """A model whose weights and biases are all far from their initial values."""
    return shake(MultitaskModel.from_encoder(encoder_folder, TASKS))


@pytest.fixture
def bert(bert_folder) -> MultitaskModel:
    return shake(MultitaskModel.from_encoder(bert_folder, TASKS))
