"""The entropy of a task's predictions: an objective that needs no labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from .loss import TaskObjective


class EntropyObjective(TaskObjective):
    """
    Mean entropy −Σ_c p_c log p_c of the head's predictions, in nats, in the place of the loss.

    AdaMerging's objective (arXiv 2310.02575), for αVIL our choice: low entropy stands for a low loss where there are
    no labels. Labels of the rows are not passed to the model.

    Args:
        args (`Any`): As of [`TaskObjective`].
        label_names (`Collection[str]`): Inputs that are not passed on.
        kwargs (`Any`): As of [`TaskObjective`].

    Raises:
        ValueError: For a head with one output, whose entropy is 0 whatever it says.
    """

    def __init__(self, *args: Any, label_names: Collection[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_names = frozenset(label_names)

    def _inputs(self, rows: Sequence[int]) -> Any:
        return {name: value for name, value in super()._inputs(rows).items() if name not in self.label_names}

    def _loss(self, outputs: Any) -> Tensor:
        # Without labels no loss stands before the logits of a tuple.
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        if logits.shape[-1] < 2:
            raise ValueError(
                f"alpha_objective='entropy' needs a head of several classes, and the target's logits have the shape "
                f"{tuple(logits.shape)}: pass alpha_objective='loss'"
            )
        log_probabilities = logits.log_softmax(dim=-1)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=-1).mean()
