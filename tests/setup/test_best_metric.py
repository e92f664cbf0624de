"""`metric_for_best_model` and its direction, and the schedulers that follow them."""

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import TrainerCallback

from support.kinds_run import kinds_trainer

BEST = {
    "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "num_train_epochs": 3,
}  # fmt: skip
PLATEAU = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "method": "multitask"}


def evaluations(trainer):
    return [entry for entry in trainer.state.log_history if "eval_pair_loss" in entry]


@pytest.mark.parametrize("name", ["loss", "eval_loss", "pair_loss"])
def test_a_loss_that_is_named_chooses_the_best_model(name, tmp_path):
    trainer = kinds_trainer(tmp_path, target="pair", metric_for_best_model=name, **BEST)
    trainer.train()
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("eval_pair_loss", False)
    least = min(evaluations(trainer), key=lambda entry: entry["eval_pair_loss"])
    assert (trainer.state.best_global_step, trainer.state.best_metric) == (least["step"], least["eval_pair_loss"])


def test_a_name_that_is_set_later_acts(tmp_path):
    trainer = kinds_trainer(tmp_path, target="pair", eval_strategy="epoch", num_train_epochs=1)
    assert trainer.args.metric_for_best_model == "eval_pair_accuracy"
    trainer.args.metric_for_best_model = "loss"
    trainer.train()
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("eval_pair_loss", False)


def test_a_target_that_is_set_later_has_its_own_metric(tmp_path):
    trainer = kinds_trainer(tmp_path, target="pair", eval_strategy="epoch", num_train_epochs=1)
    trainer.args.target_task = "tags"
    trainer.train()
    assert trainer.args.metric_for_best_model == "eval_tags_f1_micro"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "False, but the best model has the greatest eval_pair_accuracy: leave it out, or name the metric"),
        ({"metric_for_best_model": "mean", "eval_auxiliaries": True, "leave_out": ("score", "quiz", "prose", "other")},
         "False, but the best model has the greatest eval_mean"),
    ],
)  # fmt: skip
def test_a_direction_that_contradicts_the_default_metric_is_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=f"greater_is_better={message}"):
        kinds_trainer(tmp_path, target="pair", greater_is_better=False, **settings)


class Rates(TrainerCallback):
    """Keeps the learning rate that every evaluation leaves, and what the scheduler has seen."""

    def __init__(self):
        self.rates = []

    def on_save(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(("metric", "mode"), [(None, "max"), ("loss", "min")])
def test_a_plateau_is_one_of_the_metric(metric, mode, tmp_path):
    rates = Rates()
    trainer = kinds_trainer(
        tmp_path, target="pair", metric_for_best_model=metric, lr_scheduler_kwargs={"patience": 0},
        save_strategy="epoch", num_train_epochs=6, learning_rate=0.05, optim="adamw_torch", **PLATEAU,
    )  # fmt: skip
    trainer.add_callback(rates)
    trainer.train()
    seen = [entry["eval_pair_accuracy" if mode == "max" else "eval_pair_loss"] for entry in evaluations(trainer)]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.05)
    scheduler, expected = ReduceLROnPlateau(optimizer, mode=mode, patience=0), []
    for value in seen:
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates.rates == pytest.approx(expected)
    assert len(set(seen)) > 1


@pytest.mark.parametrize("scheduler", ["reduce_lr_on_plateau", "greedy"])
def test_a_plateau_in_the_other_direction_is_refused(scheduler, tmp_path):
    settings = PLATEAU | {"lr_scheduler_type": scheduler, "lr_scheduler_kwargs": {"mode": "min"}}
    with pytest.raises(
        ValueError, match=r"lr_scheduler_kwargs=.*'min'.*: pass 'mode': 'max', or no mode \(eval_pair_ac"
    ):
        kinds_trainer(tmp_path, target="pair", **settings)
    kinds_trainer(tmp_path, target="pair", metric_for_best_model="loss", **settings)
