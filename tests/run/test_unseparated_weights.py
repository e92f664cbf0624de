"""Task weights of a user's method whose phases share Trainer's learning-rate schedule."""

import pytest
import torch

from hf_alphavil.data.plan import EpochPlan, Phase
from hf_alphavil.methods import METHODS, Method
from support.toy_run import run_toy


class Halved(Method):
    """One phase on the target, at half its weight."""

    name = "halved"

    def __init__(self, args, tasks):
        super().__init__(args, tasks)
        self.task_weights["a"] = 0.5

    def plan(self, epoch, steps):
        return EpochPlan(epoch, (Phase("a", (("a",),) * steps["a"], weighted=True),), steps["a"])


@pytest.mark.parametrize("scheduler", ["linear", "reduce_lr_on_plateau"])
def test_a_weight_scales_the_learning_rate(scheduler, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, Halved.name, Halved)

    def run(method, rate):
        settings = {"lr_scheduler_type": scheduler, "eval_strategy": "epoch", "num_train_epochs": 2}
        return run_toy(
            tmp_path, method=method, learning_rate=rate, weight_applies_to="learning_rate",
            logging_strategy="steps", logging_steps=1, **settings,
        )  # fmt: skip

    weighted, wanted = run(Halved.name, 0.1), run("single", 0.05)
    for name, tensor in wanted["state"].items():
        torch.testing.assert_close(weighted["state"][name], tensor, rtol=0, atol=1e-12)
    rates = [entry["learning_rate"] for entry in weighted["log_history"] if "learning_rate" in entry]
    halves = [entry["learning_rate"] for entry in wanted["log_history"] if "learning_rate" in entry]
    assert rates == pytest.approx([2 * rate for rate in halves])  # the log shows it unweighted
