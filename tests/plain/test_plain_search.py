"""Hyper-parameter search in plain mode: model_init and a new training loop for every trial."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from plain_harness import Side, assert_same
from plain_toys import bert, sentences
from transformers import Trainer
from transformers.hyperparameter_search import ALL_HYPERPARAMETER_SEARCH_BACKENDS
from transformers.trainer_utils import BestRun, HPSearchBackend

RATES = [1e-2, 1e-3]


class GridBackend:
    """Stands in for optuna and walks a list: Trainer's side of a search is then stock's own code."""

    def ensure_available(self) -> None:
        pass

    def run(self, trainer: Trainer, n_trials: int, direction: str) -> BestRun:
        objectives = []
        for number, rate in enumerate(RATES[:n_trials]):
            trainer.objective = None
            trainer.train(trial=SimpleNamespace(number=number, params={"learning_rate": rate}))
            objectives.append(trainer.objective)
        best = objectives.index(min(objectives))
        return BestRun(str(best), objectives[best], {"learning_rate": RATES[best]})


def search(side: Side, **kwargs: Any) -> Trainer:
    settings = {"num_train_epochs": 1, "eval_strategy": "epoch", "save_strategy": "epoch"}
    trainer = side.trainer(settings, model_init=lambda: bert(), eval_dataset=sentences(9, seed=1))
    best = trainer.hyperparameter_search(n_trials=2, direction="minimize", backend="optuna", **kwargs)
    side.notes["best"] = [best.run_id, best.objective, best.hyperparameters]
    return trainer


def test_search_runs_as_stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", stub := ModuleType("optuna"))
    monkeypatch.setattr(stub, "__spec__", ModuleSpec("optuna", None))
    monkeypatch.setattr(stub, "trial", SimpleNamespace(BaseTrial=SimpleNamespace), raising=False)
    monkeypatch.setitem(ALL_HYPERPARAMETER_SEARCH_BACKENDS, HPSearchBackend.OPTUNA, GridBackend)
    assert_same(lambda side: search(side, hp_space=lambda trial: trial.params), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")
def test_search_with_optuna_runs_as_stock(tmp_path: Path) -> None:
    from optuna.samplers import RandomSampler

    def space(trial: Any) -> dict[str, float]:
        return {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True)}

    assert_same(lambda side: search(side, hp_space=space, sampler=RandomSampler(seed=0)), tmp_path)
