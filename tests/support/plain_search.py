"""Hyper-parameter search in plain mode, with Optuna."""

from typing import Any

from optuna.samplers import RandomSampler
from transformers import Trainer, TrainerCallback

from support.plain_harness import Side
from support.plain_toys import bert, sentences


class KeepWeights(TrainerCallback):
    """Keeps every trial's final weights: after a search the trainer holds no model."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Any]] = []

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})


def space(trial: Any) -> dict[str, float]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True)}


def search(side: Side) -> Trainer:
    settings = {"num_train_epochs": 1, "eval_strategy": "epoch", "save_strategy": "epoch"}
    kept = KeepWeights()
    trainer = side.trainer(settings, model_init=lambda: bert(), eval_dataset=sentences(9, seed=1), callbacks=[kept])
    best = trainer.hyperparameter_search(
        n_trials=3, direction="minimize", backend="optuna", hp_space=space, sampler=RandomSampler(seed=0)
    )
    # With several processes, only the first knows the result.
    side.notes["best"] = best and [best.run_id, best.objective, best.hyperparameters]
    side.notes["weights"] = kept.weights
    assert len(kept.weights) == 3
    return trainer
