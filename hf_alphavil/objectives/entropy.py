"""The entropy of a task's predictions: an objective that needs no labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from .loss import TaskObjective


class EntropyObjective(TaskObjective):
    """
    The mean entropy −Σ_c p_c log p_c of the head's predictions, in nats, instead of the loss.

    This is AdaMerging's objective (arXiv 2310.02575); its use in αVIL is our choice. Without labels, low entropy is a
    proxy for a low loss. The rows' labels are not passed to the model.

    Args:
        args (`Any`): Positional arguments of [`TaskObjective`].
        label_names (`Collection[str]`): Names of the inputs that are not passed to the model.
        kwargs (`Any`): Keyword arguments of [`TaskObjective`].

    Raises:
        ValueError: If the head has one output, whose entropy is always 0. Raised when the first loss is computed.
    """

    def __init__(self, *args: Any, label_names: Collection[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_names = frozenset(label_names)

    def _inputs(self, rows: Sequence[int]) -> Any:
        return {name: value for name, value in super()._inputs(rows).items() if name not in self.label_names}

    def _loss(self, outputs: Any) -> Tensor:
        # Without labels there is no loss, so a tuple starts with the logits.
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        if logits.shape[-1] < 2:
            raise ValueError(
                "alpha_objective='entropy' needs a head of several classes, but the target's logits have the shape "
                f"{tuple(logits.shape)}: pass alpha_objective='loss'"
            )
        log_probabilities = logits.log_softmax(dim=-1)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=-1).mean()
