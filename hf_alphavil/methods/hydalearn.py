"""HydaLearn: weights from what a step on each task alone would gain for the target."""

from __future__ import annotations

from collections.abc import Mapping

from .step_method import Step, StepMethod


class HydaLearn(StepMethod):
    """
    HydaLearn (Verboven et al., arXiv 2008.11643): the weights of a step follow the target's gain d_t from a step on
    each task alone, w_s/w_t = d_s/d_t.

    Known from the abstract only; the rest is our reading: the step is θ − η g_t with the optimizer's present η, the
    gain is the fall of the target's loss on held-out rows (`alpha_batch_size` of them, drawn anew for every step),
    a loss counts as no gain, and weights have mean 1. Where no step gains, the target trains alone.
    """

    name = "hydalearn"
    needs_meta_set = True
    meta_use = "gains of a step were measured"

    def weigh(self, step: Step) -> Mapping[str, float]:
        rows = step.meta_rows(self.args.alpha_batch_size)
        before = step.meta.loss(rows)
        gains = {}
        for task in self.order:
            with step.gradients.moved(step.gradients.combination({task: 1.0}), -step.learning_rate):
                gains[task] = max(0.0, before - step.meta.loss(rows))
        total = sum(gains.values())
        if total == 0:
            gains[self.order[0]] = total = 1.0
        return {task: len(self.order) * gain / total for task, gain in gains.items()}
