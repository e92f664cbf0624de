"""Hyper-parameter search with several tasks: its objective, and trials that are set up anew."""

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil import MultitaskTrainer
from support.kinds_run import kinds_trainer
from support.toy_run import SIZES, TARGET, accuracy, run_toy, toy_args, toy_data, toy_model

HOLDOUT = {"alpha_data": "train_holdout", "alpha_holdout_fraction": 0.3, "num_train_epochs": 1}


class Keep(TrainerCallback):
    """Keeps what every trial leaves; after a search the trainer holds no model."""

    def __init__(self):
        self.trainer, self.trials = None, []

    def on_train_end(self, args, state, control, model=None, **kwargs):
        trainer = self.trainer
        self.trials.append(
            SimpleNamespace(
                meta_rows=len(trainer.meta_set or ()),
                tasks=list(trainer.train_datasets),
                history=trainer.history,
                learning_rate=args.learning_rate,
                state={name: tensor.clone() for name, tensor in model.state_dict().items()},
            )
        )


def search(trainer, *trials, **settings):
    """Searches by Optuna, whose trials have the given settings."""
    return trainer.hyperparameter_search(
        hp_space=lambda trial: dict(trials[trial.number]), backend="optuna", n_trials=len(trials), **settings
    )


def toy(folder, **settings):
    train, meta = toy_data()
    keep = Keep()
    trainer = keep.trainer = MultitaskTrainer(
        model_init=lambda: toy_model(), args=toy_args(folder, **settings), train_dataset=train,
        eval_dataset={TARGET: meta}, compute_metrics=accuracy, callbacks=[keep],
    )  # fmt: skip
    return trainer, keep


@pytest.mark.parametrize(
    ("settings", "direction", "metric", "wanted"),
    [
        ({"metric_for_best_model": "accuracy"}, None, "eval_a_accuracy", "maximize"),
        ({"metric_for_best_model": "accuracy"}, "maximize", "eval_a_accuracy", "maximize"),
        ({}, None, "eval_a_loss", "minimize"),
        ({}, "minimize", "eval_a_loss", "minimize"),
        ({}, "maximize", "eval_a_accuracy", "maximize"),
    ],
)
def test_the_objective_is_one_score_with_its_direction(settings, direction, metric, wanted, tmp_path):
    trainer, _ = toy(tmp_path, num_train_epochs=1, eval_strategy="epoch", **settings)
    objective, found = trainer._default_objective(direction)
    best = search(trainer, {}, direction=direction)
    scores = [entry for entry in trainer.state.log_history if metric in entry][-1]
    assert (best.objective, found) == (scores[metric], wanted)
    assert objective(scores) == scores[metric]


def test_the_objective_of_tasks_is_the_main_metric(tmp_path):
    trainer = kinds_trainer(tmp_path, target="score")
    objective, direction = trainer._default_objective(None)
    scores = trainer.evaluate()
    assert (objective(scores), direction) == (scores["eval_score_combined_score"], "maximize")


def test_a_direction_that_contradicts_the_objective_is_refused(tmp_path):
    trainer, _ = toy(tmp_path, metric_for_best_model="accuracy")
    for direction in ("minimize", ["maximize", "minimize"]):
        with pytest.raises(ValueError, match="but the objective is eval_a_accuracy, for which it is 'maximize'"):
            trainer.hyperparameter_search(direction=direction, backend="optuna")


def test_a_trial_equals_a_run_with_its_settings(tmp_path):
    """Everything is set up anew: the method, the held-out slice, seeds, and what arguments are derived from."""
    trials = [
        {"alpha_holdout_fraction": 0.5, "learning_rate": 0.05},
        {"method": "single", "seed": 7},
        {"alpha_data": "train", "weight_applies_to": "learning_rate", "data_seed": 3},
        {},
    ]
    trainer, keep = toy(tmp_path / "search", **HOLDOUT)
    search(trainer, *trials)
    held_out = [round(0.5 * SIZES[TARGET]), 0, SIZES[TARGET], round(0.3 * SIZES[TARGET])]
    assert [result.meta_rows for result in keep.trials] == held_out
    assert [result.tasks for result in keep.trials] == [list(SIZES), [TARGET], list(SIZES), list(SIZES)]
    assert [result.learning_rate for result in keep.trials] == [0.05, 0.1, 0.1, 0.1]
    for number, (values, result) in enumerate(zip(trials, keep.trials, strict=True)):
        alone = run_toy(tmp_path / str(number), **HOLDOUT | values)
        assert result.history == alone["history"]
        for name, tensor in alone["state"].items():
            assert torch.equal(tensor, result.state[name]), (number, name)


def test_a_trial_has_the_values_of_its_own_preset(tmp_path):
    trials = [{"alphavil_preset": "paper"}, {"method": "diw"}, {"alphavil_preset": "paper", "joint_fraction": 0.8}, {}]
    trainer, keep = toy(tmp_path / "search", alphavil_preset="joint", alpha_data="train_holdout", num_train_epochs=3)
    search(trainer, *trials)
    assert [result.meta_rows for result in keep.trials] == [8, 8, 8, 11]
    for number, (values, result) in enumerate(zip(trials, keep.trials, strict=True)):
        settings = {"alphavil_preset": "joint", "alpha_data": "train_holdout", "num_train_epochs": 3} | values
        assert result.history == run_toy(tmp_path / str(number), **settings)["history"], values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha_steps": -1}, "alpha_steps=-1: pass a number of steps"),
        ({"method": "none"}, "unknown method 'none'"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0: pass a whole number"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor=0.1: pass 0.0"),
    ],
)
def test_a_trial_s_settings_are_checked(values, message, tmp_path):
    trainer, keep = toy(tmp_path, num_train_epochs=1)
    with pytest.raises(ValueError, match=message):
        search(trainer, values)
    assert not keep.trials


def test_settings_changed_between_two_trainings_act(tmp_path):
    trainer, _ = toy(tmp_path, **HOLDOUT)
    trainer.train()
    trainer.args.method, trainer.args.alpha_holdout_fraction = "alphavil", 0.5
    trainer.train()
    assert len(trainer.meta_set) == round(0.5 * SIZES[TARGET])
    trainer.args.method = "single"
    trainer.train()
    assert list(trainer.train_datasets) == [TARGET]
    trainer.args.dataloader_drop_last = True
    with pytest.raises(ValueError, match="dataloader_drop_last=True"):
        trainer.train()
