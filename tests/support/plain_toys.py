"""Millisecond models and data: a random BERT with dropout, a line, sentences of unequal lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

if TYPE_CHECKING:
    import datasets

VOCABULARY = 40


def bert(seed: int = 1, dropout: float = 0.2) -> BertForSequenceClassification:
    """A random two-layer BERT classifier of width 16, with dropout: every forward in training draws numbers."""
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16, num_labels=3, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    torch.manual_seed(seed)
    return BertForSequenceClassification(config)


def sentences(rows: int, seed: int = 0, length: int | None = None) -> list[dict[str, Any]]:
    """`rows` examples of 4 to 12 tokens (or of `length` tokens) with one of three labels."""
    generator = torch.Generator().manual_seed(seed)
    examples = []
    for _ in range(rows):
        size = length or int(torch.randint(4, 13, (1,), generator=generator))
        ids = torch.randint(4, VOCABULARY, (size,), generator=generator).tolist()
        examples.append({"input_ids": ids, "attention_mask": [1] * size, "labels": sum(ids) % 3})
    return examples


def hub_dataset(rows: int, seed: int = 0) -> datasets.Dataset:
    """The same as a `datasets.Dataset`, with a text column that no model takes."""
    import datasets

    examples = sentences(rows, seed)
    columns = {name: [example[name] for example in examples] for name in examples[0]}
    return datasets.Dataset.from_dict(columns | {"text": [f"row {i}" for i in range(rows)]})


class SentenceStream(IterableDataset):
    """An iterable dataset without a length; rank 0 cuts its batches up for the others, so rows are equally long."""

    def __init__(self, rows: int) -> None:
        self.examples = sentences(rows, length=8)

    def __iter__(self) -> Any:
        return iter(self.examples)


def pad(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A user's own collator."""
    length = max(len(example["input_ids"]) for example in examples)
    batch = {
        name: torch.tensor([example[name] + [0] * (length - len(example[name])) for example in examples])
        for name in ("input_ids", "attention_mask")
    }
    batch["labels"] = torch.tensor([example["labels"] for example in examples])
    return batch


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that only has to pad."""
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{i}": i for i in range(2, VOCABULARY)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="[UNK]")), pad_token="[PAD]", unk_token="[UNK]"
    )


class Points(Dataset):
    """Points near the line y = 2x + 3."""

    def __init__(self, rows: int = 32, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(rows, generator=generator)
        self.y = 2 * self.x + 3 + 0.1 * torch.randn(rows, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, float]:
        return {"input_x": self.x[index].item(), "labels": self.y[index].item()}


class Line(nn.Module):
    """y = a·x + b, with loss and prediction in a tuple, and no configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5))
        self.b = nn.Parameter(torch.tensor(-0.5))

    def forward(self, input_x: torch.Tensor, labels: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        prediction = self.a * input_x + self.b
        return (prediction,) if labels is None else (F.mse_loss(prediction, labels), prediction)
