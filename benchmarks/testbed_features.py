"""Features of sentence pairs from a frozen encoder, computed once per workload."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from low_resource_data import TASKS
from workload import Rows, Workload

Sentence = tuple[int, ...]
BATCH = 64


@dataclass(frozen=True)
class Features:
    """
    Tasks on pairs of vectors.

    Args:
        workload (`Workload`): Rows have the numbers of two vectors as `pair`, and `labels`.
        vectors (`torch.Tensor` of shape `(sentences + 1, dimensions)`): One vector per sentence; the last is 0.
    """

    workload: Workload
    vectors: Tensor

    @property
    def size(self) -> int:
        """Number of features of a pair."""
        return 4 * self.vectors.shape[-1]

    def inputs(self, rows: Rows) -> Rows:
        """
        Replaces pairs by their features (u, v, |u − v|, u·v).

        Args:
            rows (`list[dict]`): Rows of the workload.
        """
        u, v = self.vectors[torch.tensor([row["pair"] for row in rows])].float().unbind(1)
        features = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
        return [{"x": x, "labels": row["labels"]} for x, row in zip(features, rows, strict=True)]


def as_pairs(workload: Workload, separator: int) -> tuple[Workload, list[Sentence]]:
    """
    Splits rows of token ids into sentences.

    A single sentence is a pair with the vector 0. A row of multiple choice becomes a pair of premise and choice for
    each choice, whose label is whether it is the right one.

    Args:
        workload (`Workload`): Token ids of BERT's form, `[CLS] first [SEP] second [SEP]`.
        separator (`int`): The token id of `[SEP]`.

    Returns:
        `tuple[Workload, list[tuple[int, ...]]]`: Rows with the numbers of two sentences as `pair` (−1 for none), and
        the sentences.
    """
    numbers: dict[Sentence, int] = {}

    def pair(ids: list[int]) -> tuple[int, int]:
        end = ids.index(separator) + 1
        parts = [ids[:end], [ids[0], *ids[end:]]] if end < len(ids) else [ids]
        first, second = *(numbers.setdefault(tuple(part), len(numbers)) for part in parts), *([-1] * (2 - len(parts)))
        return first, second

    def pairs(rows: Rows) -> Iterator[dict[str, Any]]:
        for row in rows:
            if isinstance(row["input_ids"][0], list):
                for number, ids in enumerate(row["input_ids"]):
                    yield {"pair": pair(ids), "labels": int(number == row["labels"])}
            else:
                yield {"pair": pair(row["input_ids"]), "labels": row["labels"]}

    rows = {name: list(pairs(of_task)) for name, of_task in workload.rows.items()}
    validation = {name: list(pairs(of_task)) for name, of_task in workload.validation.items()}
    choice = {"kind": "sequence_classification", "labels": ["wrong", "right"]}
    heads = {name: choice if head["kind"] == "multiple_choice" else head for name, head in workload.heads.items()}
    return replace(workload, heads=heads, rows=rows, validation=validation), list(numbers)


def encode(encoder: Any, sentences: list[Sentence]) -> Tensor:
    """
    The mean of each sentence's last hidden states, scaled to the length √dimensions.

    Scaled so, features are of the order of 1, and no statistic of any row is needed to normalise them.

    Args:
        encoder (`PreTrainedModel`): An encoder with the attention mask as input.
        sentences (`list[tuple[int, ...]]`): Token ids.

    Returns:
        `torch.Tensor` of shape `(sentences + 1, dimensions)`: In half precision. The last vector is 0.
    """
    dimensions = encoder.config.hidden_size
    vectors = torch.zeros(len(sentences) + 1, dimensions, dtype=torch.float16)
    by_length = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(by_length), BATCH):
            numbers = by_length[start : start + BATCH]
            longest = max(len(sentences[number]) for number in numbers)
            ids = torch.tensor([[*sentences[n], *[0] * (longest - len(sentences[n]))] for n in numbers])
            mask = torch.tensor([[1] * len(sentences[n]) + [0] * (longest - len(sentences[n])) for n in numbers])
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            sums = (hidden * mask[..., None]).sum(dim=1)
            vectors[numbers] = (sums / sums.norm(dim=-1, keepdim=True) * dimensions**0.5).half()
    return vectors


@cache
def load_features(folder: str) -> Features:
    """
    Reads the features of a workload from `features-*.safetensors` in its folder, or computes and writes them.

    Args:
        folder (`str`): The folder of a workload with the tasks [`TASKS`] and an encoder of BERT's form.
    """
    whole = Workload.load(folder, TASKS)
    workload, sentences = as_pairs(whole, whole.tokenizer.sep_token_id)
    digest = hashlib.sha256(repr(sentences).encode())
    digest.update((workload.folder / "encoder" / "model.safetensors").read_bytes())
    path = Path(folder) / f"features-{digest.hexdigest()[:12]}.safetensors"
    if not path.exists():
        encoder = AutoModel.from_pretrained(workload.folder / "encoder", dtype=torch.float32)
        unfinished = path.with_suffix(".unfinished")
        save_file({"vectors": encode(encoder, sentences)}, unfinished)
        unfinished.replace(path)
    features = Features(workload, load_file(path)["vectors"])
    gc.freeze()  # each run collects garbage, and need not look through all rows
    return features
