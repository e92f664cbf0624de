"""Millisecond encoders of every architecture family, and one task of every kind."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    LlamaConfig,
    ModernBertConfig,
    Qwen2Config,
    RobertaConfig,
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
#: Arguments of a BERT of one layer whose weights are spread enough that its parts differ.
WIDE_BERT = {
    "vocab_size": 25, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
ENCODERS = {
    "bert": lambda: BertConfig(vocab_size=60, max_position_embeddings=40, **SIZES),
    "roberta": lambda: RobertaConfig(vocab_size=60, max_position_embeddings=40, pad_token_id=1, **SIZES),
    "deberta-v2": lambda: DebertaV2Config(
        vocab_size=60,
        max_position_embeddings=40,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
        **SIZES,
    ),
    "electra": lambda: ElectraConfig(vocab_size=60, max_position_embeddings=40, embedding_size=8, **SIZES),
    "modernbert": lambda: ModernBertConfig(
        vocab_size=60,
        max_position_embeddings=40,
        pad_token_id=0,
        bos_token_id=1,
        cls_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
        **SIZES,
    ),
    "qwen2": lambda: Qwen2Config(vocab_size=60, num_key_value_heads=1, pad_token_id=0, **SIZES),
    "llama": lambda: LlamaConfig(vocab_size=60, num_key_value_heads=1, pad_token_id=0, **SIZES),
}
DECODERS = ("qwen2", "llama")
TASKS = {
    "rte": {"kind": "sequence_classification", "labels": ["entailment", "not_entailment"]},
    "cb": {"kind": "sequence_classification", "labels": ["a", "b", "c"]},
    "tags": {
        "kind": "sequence_classification",
        "labels": ["x", "y", "z"],
        "problem_type": "multi_label_classification",
    },
    "sts-b": {"kind": "regression", "labels": None},
    "copa": {"kind": "multiple_choice", "labels": ["choice1", "choice2"]},
    "words": {"kind": "token_classification", "labels": ["O", "B-PER", "I-PER"]},
}
#: Not of decoders, which have no masked language model.
PROSE = {"prose": {"kind": "masked_lm", "labels": None}}


def auto_class_of(task: str, architecture: str) -> Any:
    """The library's class for a task's kind of head."""
    kind = (TASKS | PROSE)[task]["kind"]
    if kind == "multiple_choice" and architecture not in DECODERS:
        return AutoModelForMultipleChoice
    return {"token_classification": AutoModelForTokenClassification, "masked_lm": AutoModelForMaskedLM}.get(
        kind, AutoModelForSequenceClassification
    )


def shake(model, seed: int = 1):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def make_batch(task: str, pad: int = 0, seed: int = 2) -> dict:
    """Three examples with padding on the right, and labels of the task's type."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 7) if task == "copa" else (3, 7)
    ids = torch.randint(5, 60, shape, generator=generator)
    mask = torch.ones(shape, dtype=torch.long)
    ids[0, ..., 5:] = pad
    mask[0, ..., 5:] = 0
    labels = {
        "rte": torch.tensor([0, 1, 1]),
        "cb": torch.tensor([2, 0, 1]),
        "tags": torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        "sts-b": torch.tensor([0.5, 3.0, 4.4]),
        "copa": torch.tensor([1, 0, 1]),
        "words": torch.tensor([[0, -100, 2, 1, 0, -100, -100]] * 3),
        "prose": torch.tensor([[-100, 7, -100, 30, -100, -100, -100]] * 3),
    }
    return {"input_ids": ids, "attention_mask": mask, "labels": labels[task]}


def checkpoint_activations(model):
    """Turns on activation checkpointing, which older releases of transformers 5 call gradient checkpointing."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
