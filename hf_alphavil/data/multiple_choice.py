"""Collation of multiple-choice rows, labelled or not, of equal or unequal numbers of choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DataCollatorForMultipleChoice


@dataclass
class MultipleChoiceCollator(DataCollatorForMultipleChoice):
    """
    transformers' `DataCollatorForMultipleChoice`, extended to rows without labels (test splits) and to rows that have
    fewer choices than others.

    A batch in which some row has fewer choices gets a `choice_mask`, a boolean tensor of shape `(batch, choices)` that
    is true for real choices.

    Args:
        num_choices (`int`, *optional*):
            Choices to which every batch is padded, so that the logits of all batches have the same width. Defaults to
            the most choices of any row of the batch.
    """

    num_choices: int | None = None

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if not ("label" in examples[0] or "labels" in examples[0]):
            batch = self.torch_call([{**example, "labels": 0} for example in examples])
            del batch["labels"]
            return batch
        counts = [len(example["input_ids"]) for example in examples]
        width = max([*counts, self.num_choices or 0])
        if min(counts) == width:
            return super().torch_call(examples)
        # Copies of the first choice fill up the row without making any sequence longer. The mask hides them.
        whole = [
            {
                name: [*value, *[value[0]] * (width - count)] if name in self.tokenizer.model_input_names else value
                for name, value in example.items()
            }
            for example, count in zip(examples, counts, strict=True)
        ]
        batch = super().torch_call(whole)
        batch["choice_mask"] = torch.arange(width) < torch.tensor(counts)[:, None]
        return batch
