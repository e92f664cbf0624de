"""Label smoothing by task: over the classes that a row has, and none where a task has no classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class ChoiceSmoother:
    """
    Label smoothing over each row's own choices: (1 − ε)·(−log p_y) + ε·mean_c(−log p_c), the mean of a batch's rows.

    transformers' `LabelSmoother` takes the mean over all columns, and the logit of no choice is the lowest number.

    Args:
        epsilon (`float`): Label smoothing factor.
        choice_mask (`torch.Tensor` of shape `(batch, choices)`): Which choices are there.
    """

    epsilon: float
    choice_mask: Tensor

    def __call__(self, model_output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        logits = model_output["logits"] if isinstance(model_output, dict) else model_output[0]
        losses = -logits.log_softmax(dim=-1)
        of_label = losses.gather(-1, labels[:, None]).squeeze(-1)
        of_all = losses.masked_fill(~self.choice_mask, 0.0).sum(dim=-1) / self.choice_mask.sum(dim=-1)
        return ((1 - self.epsilon) * of_label + self.epsilon * of_all).mean()


def smoother_for(smoother: Any, kind: str | None, inputs: Mapping[str, Any]) -> Any:
    """
    The label smoother of one batch.

    Args:
        smoother (`LabelSmoother`, *optional*): Trainer's.
        kind (`str`, *optional*): The task's kind, where it is known.
        inputs (`Mapping[str, Any]`): The batch.

    Returns:
        `Callable`, *optional*: `None` for scores and for several labels at once, which name no one class.
    """
    labels = inputs.get("labels")
    if smoother is None or kind == "regression" or (isinstance(labels, Tensor) and labels.is_floating_point()):
        return None
    if "choice_mask" in inputs:
        return ChoiceSmoother(smoother.epsilon, inputs["choice_mask"])
    return smoother
