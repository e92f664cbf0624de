"""A dataset whose longest rows come first, and what a model says of them in the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Subset
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from .task_dataset import TaskDataset


class LengthOrdered(TaskDataset):
    """
    A task's rows in another order.

    Args:
        dataset (`TaskDataset`): The rows.
        order (`Sequence[int]`): Their numbers, in the order in which they are read.
    """

    def __init__(self, dataset: TaskDataset, order: Sequence[int]) -> None:
        super().__init__(Subset(dataset.dataset, order), dataset.task)
        self._places = np.argsort(order)

    def restored(self, values: Any) -> Any:
        """
        Puts values of rows back into the order of the rows.

        Args:
            values (`Any`): Arrays with an entry per row, in the order in which rows were read; also nested. Arrays of
                another length are not of rows and stay as they are.
        """
        if isinstance(values, np.ndarray):
            return values[self._places] if values.ndim and len(values) == len(self) else values
        if isinstance(values, Mapping):
            return type(values)({name: self.restored(value) for name, value in values.items()})  # type: ignore
        if isinstance(values, list | tuple):
            return type(values)(self.restored(value) for value in values)
        return values

    def restored_output(self, output: EvalLoopOutput) -> EvalLoopOutput:
        """`EvalLoopOutput`: What an evaluation returns, with predictions and labels in the order of the rows."""
        return output._replace(
            predictions=self.restored(output.predictions), label_ids=self.restored(output.label_ids)
        )

    def in_row_order(self, compute_metrics: Callable[[EvalPrediction], Any] | None) -> Callable | None:
        """
        Gives a metric everything in the order of the rows.

        Args:
            compute_metrics (`Callable`, *optional*): Takes an `EvalPrediction`.
        """
        if compute_metrics is None:
            return None
        return lambda prediction: compute_metrics(self._restored_prediction(prediction))

    def _restored_prediction(self, prediction: EvalPrediction) -> EvalPrediction:
        parts = {name: getattr(prediction, name) for name in ("predictions", "label_ids", "inputs", "losses")}
        return EvalPrediction(**{name: self.restored(value) for name, value in parts.items() if value is not None})
