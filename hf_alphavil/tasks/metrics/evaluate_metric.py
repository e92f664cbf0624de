"""The packaged metrics for code that takes an `evaluate.Metric`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import require_package
from .base import PackagedMetric
from .scores import METRICS

if TYPE_CHECKING:
    from evaluate import Metric


def evaluate_metric(name: str, config_name: str | None = None, **kwargs: Any) -> Metric:
    """
    A packaged metric as an `evaluate.Metric`. `evaluate.load` would read its code from the network.

    Args:
        name (`str`):
            A key of `METRICS`.
        config_name (`str`, *optional*):
            `"multilabel"` for predictions and references of shape `(rows, labels)`, as in the metrics of `evaluate`.
        kwargs (`dict[str, Any]`): Further arguments of `evaluate.Metric`.

    Raises:
        ImportError: If `evaluate` is not installed.
    """
    require_package("evaluate", "evaluate_metric")
    import evaluate
    from datasets import Features, Value

    packaged: type[PackagedMetric] = METRICS[name]
    ids, floats = Value("int64"), Value("float64")
    predictions: Any = {"ids": ids, "scores": floats, "margins": floats, "tags": [Value("string")]}[packaged.reads]
    references: Any = ids if packaged.reads == "margins" else predictions
    if config_name == "multilabel":
        predictions, references = [ids], [ids]

    class Packaged(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=packaged.description,
                citation="",
                inputs_description=f"predictions ({packaged.reads}) and references, one for each row",
                features=Features({"predictions": predictions, "references": references}),
            )

        def _compute(self, predictions: Any, references: Any, **extra: Any) -> dict[str, float]:
            return packaged().compute(predictions, references, **extra)

    # In memory, because parallel runs would collide in metric files on disk, which have locks and a shared name.
    kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
    return Packaged(config_name, **kwargs)
