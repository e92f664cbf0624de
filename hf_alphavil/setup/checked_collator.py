"""A task's collator that tells a row that does not fit the task's head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kinds import find_kind
from .readable_inputs import ReadableInputs, as_array, shape_of_inputs

#: Names of a row's labels. Hugging Face's collators prefer the first.
LABEL_NAMES = ("label", "label_ids", "labels")


def only_pads(collate: Any) -> bool:
    """Whether a collator, if there is one, needs rows that have the model's inputs: not one of the user's own."""
    module = str(getattr(collate, "__module__", ""))
    return collate is None or module.startswith(("transformers.", "hf_alphavil."))


class CheckedCollator:
    """
    Collates rows for a head of a [`MultitaskModel`].

    Labels of any suitable type, such as int8 or truth values, are converted to the type that the head's loss takes.
    All batches are checked on the CPU: on an accelerator, an id that is out of range ends the process without a word.

    Args:
        task (`str`): The task.
        collate (`Callable`): The task's collator.
        head (`Mapping[str, Any]`): The description of the task's head.
        readable (`ReadableInputs`): What the encoder can read.
        reads_labels (`bool`): Whether the head computes the loss. A loss of the user's own may take other labels.
    """

    def __init__(
        self,
        task: str,
        collate: Callable[[list[dict[str, Any]]], Any],
        head: Mapping[str, Any],
        readable: ReadableInputs,
        reads_labels: bool,
    ) -> None:
        self.task = task
        self.collate = collate
        self.kind = find_kind(head["kind"], head["problem_type"])
        self.num_labels = len(head["labels"] or ())
        self.readable = readable
        self.reads_labels = reads_labels

    @property
    def pads_rows(self) -> bool:
        """`bool`: Whether rows have the model's inputs already. A collator of the user's own may make them."""
        return only_pads(self.collate)

    def __call__(self, examples: list[dict[str, Any]]) -> Any:
        if not self.pads_rows:
            batch = self.collate(examples)
        else:
            rows = [self.fitted(example, "a row") for example in examples]
            for row in rows:
                self.check_names(row, rows[0], "a row")
            try:
                batch = self.collate(rows)
            except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"rows of task {self.task!r} cannot be put into one batch: {type(error).__name__}: {error}. Pass "
                    "the tokenizer as `processing_class`, which pads rows, or a `data_collator`"
                ) from error
        if isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), Tensor):
            return self._fitted_batch(batch)
        return batch

    def fitted(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """
        The row with its labels as the loss takes them.

        Args:
            row (`Mapping[str, Any]`): A row, without columns that the model does not take.
            where (`str`): The row in words, for a message.

        Raises:
            ValueError: If the labels do not fit the head, or the row has no inputs. Their values are not checked.
        """
        name = next((name for name in LABEL_NAMES if name in row), None)
        try:
            shape = shape_of_inputs(row, self.kind.input_dimensions)
            fitted = self._fitted_labels(row[name], shape) if name is not None else None
        except ValueError as error:
            raise ValueError(f"{where} of task {self.task!r} {error}") from None
        if fitted is None:
            return dict(row)
        return {**{key: value for key, value in row.items() if key not in LABEL_NAMES}, "labels": fitted.tolist()}

    def check_values(self, row: Mapping[str, Any], where: str) -> None:
        """
        Checks that the encoder can read a row.

        Args:
            row (`Mapping[str, Any]`): A row.
            where (`str`): The row in words, for a message.

        Raises:
            ValueError: If it cannot.
        """
        try:
            self.readable.check(row, self.kind.input_dimensions)
        except ValueError as error:
            raise ValueError(f"{where} of task {self.task!r} {error}") from None

    def check_names(self, row: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
        """
        Checks that two rows have the same inputs.

        Args:
            row (`Mapping[str, Any]`): A row.
            other (`Mapping[str, Any]`): Another row.
            where (`str`): The row in words, for a message.

        Raises:
            ValueError: If they have not.
        """
        if row.keys() != other.keys():
            lacks, has = sorted(other.keys() - row.keys()), sorted(row.keys() - other.keys())
            names = f"lacks {', '.join(lacks)}" if lacks else f"has {', '.join(has)}"
            raise ValueError(f"{where} of task {self.task!r} {names}, unlike others: give all rows the same columns")

    def check_labels_exist(self, row: Mapping[str, Any]) -> None:
        """
        Checks that a training row has labels, or that they are made from its tokens.

        Args:
            row (`Mapping[str, Any]`): A row.

        Raises:
            ValueError: If it has none.
        """
        if not self.reads_labels or any(name in row for name in LABEL_NAMES):
            return
        if self.kind.reads_labels:
            raise ValueError(
                f"the training rows of task {self.task!r} have no labels, only {', '.join(row)}: give each row its "
                "label, under the name 'labels'"
            )
        if not hasattr(self.collate, "mlm"):
            raise ValueError(
                f"the labels of task {self.task!r} are made from its tokens, which needs the tokenizer: pass it as "
                "`processing_class`"
            )

    def _fitted_batch(self, batch: Any) -> Any:
        dimensions = self.kind.input_dimensions + 1
        try:
            self.readable.check(batch, dimensions)
            if isinstance(batch.get("labels"), Tensor):
                fitted = self._fitted_labels(batch["labels"], shape_of_inputs(batch, dimensions))
                batch["labels"] = batch["labels"] if fitted is None else torch.from_numpy(fitted)
        except ValueError as error:
            raise ValueError(f"a row of task {self.task!r} {error}") from None
        return batch

    def _fitted_labels(self, labels: Any, shape: tuple[int, ...]) -> np.ndarray | None:
        """The labels as the head's loss takes them, or `None` if they stay as they are."""
        if not self.reads_labels or not self.kind.reads_labels:
            return None
        array = as_array(labels)
        try:
            fitted = self.kind.labels_for_loss(array, shape, self.num_labels)
            return None if fitted is array else fitted
        except ValueError as error:
            shown = labels if array.dtype == object else array.tolist()
            raise ValueError(f"has the label {shown!r:.80}: {error}") from None
