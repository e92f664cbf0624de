"""The base class of the packaged metrics."""

from __future__ import annotations

from typing import Any, ClassVar

import datasets
import evaluate


class PackagedMetric(evaluate.Metric):
    """
    A metric that needs no network, over `predictions` and `references` of shape `(rows,)`.

    With the configuration `"multilabel"`, as in the metrics of `evaluate`, both have shape `(rows, labels)`, with 1
    for labels that apply and 0 for others.
    """

    description: ClassVar[str]
    #: Columns that the metric reads beside predictions and references. `compute` takes each as a keyword argument.
    columns: ClassVar[tuple[str, ...]] = ()
    greater_is_better: ClassVar[bool] = True
    #: What the metric reads as predictions: `"ids"`, `"scores"` (regression), `"margins"` (the logit of class 1 minus
    #: that of class 0) or `"tags"` (a list of label names for each row). A kind's `metric_inputs` makes them.
    reads: ClassVar[str] = "ids"
    #: Whether `compute` takes `num_labels`.
    reads_num_labels: ClassVar[bool] = False

    def __init__(self, config_name: str | None = None, **kwargs: Any) -> None:
        # In memory, because parallel runs would collide in metric files on disk, which have locks and a shared name.
        kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
        super().__init__(config_name, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        ids, floats = datasets.Value("int64"), datasets.Value("float64")
        predictions: Any = {"ids": ids, "scores": floats, "margins": floats, "tags": [datasets.Value("string")]}[
            self.reads
        ]
        references: Any = ids if self.reads == "margins" else predictions
        if self.config_name == "multilabel":
            predictions, references = [ids], [ids]
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            inputs_description=f"predictions ({self.reads}) and references, one for each row",
            features=datasets.Features({"predictions": predictions, "references": references}),
        )


def is_constant(values: Any) -> bool:
    """Whether all of `values`, one or more, are equal."""
    return all(value == values[0] for value in values)
