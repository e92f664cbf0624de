"""Collation for masked language modelling."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DataCollatorForLanguageModeling

IGNORED = -100


@dataclass
class MaskedLMCollator(DataCollatorForLanguageModeling):
    """
    transformers' `DataCollatorForLanguageModeling` with masks that are a function of the batch's tokens and `seed`.

    Neither resuming nor the number of workers changes the masks. Every evaluation with the same batch size sees the
    same masks, except in a last batch that is filled up because there are several processes. Training batches have
    other rows in every epoch and therefore other masks; a batch of a single row always has the same masks.
    (transformers draws masks from the global generator, or from one that no checkpoint holds.)

    At least one token of a batch is masked, because without any the loss would be NaN.

    Args:
        seed (`int`, *optional*, defaults to 0): Seeds the masks, together with the batch's tokens.
    """

    seed: int | None = 0

    def torch_mask_tokens(
        self, inputs: Any, special_tokens_mask: Any | None = None, offset_mapping: Any | None = None
    ) -> tuple[Any, Any]:
        digest = zlib.crc32(inputs.numpy().tobytes(), (self.seed or 0) % 2**32)
        self.generator = torch.Generator().manual_seed(digest)
        whole = inputs.clone()
        inputs, labels = super().torch_mask_tokens(inputs, special_tokens_mask, offset_mapping)
        if (labels == IGNORED).all():
            row, column = self._any_word(whole)
            labels[row, column] = whole[row, column]
            inputs[row, column] = self.tokenizer.mask_token_id
        return inputs, labels

    def _any_word(self, ids: torch.Tensor) -> tuple[int, int]:
        """Row and column of a random token that is not special or, if all are special, not padding."""
        special = torch.isin(ids, torch.tensor(self.tokenizer.all_special_ids))
        padding = ids == self.tokenizer.pad_token_id
        places = torch.nonzero(~special if not special.all() else ~padding)
        row, column = places[int(torch.randint(len(places), (), generator=self.generator))].tolist()
        return row, column
