"""Collation of multiple-choice rows, labelled or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import DataCollatorForMultipleChoice


@dataclass
class MultipleChoiceCollator(DataCollatorForMultipleChoice):
    """transformers' `DataCollatorForMultipleChoice`, which also takes rows without labels (test splits)."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if "label" in examples[0] or "labels" in examples[0]:
            return super().torch_call(examples)
        batch = super().torch_call([{**example, "labels": 0} for example in examples])
        del batch["labels"]
        return batch
