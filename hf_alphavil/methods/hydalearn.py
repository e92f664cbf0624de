"""HydaLearn: weights from the target's gain after a trial step on each task alone."""

from __future__ import annotations

from collections.abc import Mapping

from .step_method import Step, StepMethod


class HydaLearn(StepMethod):
    """
    HydaLearn (Verboven et al., arXiv 2008.11643): a step's weights are proportional to the target's gains d_t from a
    step on each task alone, w_s/w_t = d_s/d_t.

    We know only the abstract; the rest is our reading. The trial step is θ − η g_t with the optimizer's current η. The
    gain is the decrease of the target's loss on `alpha_batch_size` held-out rows, which every step draws anew. An
    increase counts as a gain of 0. Weights have mean 1. If no task gains, the target trains alone.
    """

    name = "hydalearn"
    needs_meta_set = True
    draws_meta_batches = True
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
