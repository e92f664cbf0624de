"""`alpha_optimizer=auto`: which optimizer it takes, when it says so, and that its state is kept."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import default_data_collator

from hf_alphavil import MultitaskTrainer
from reference.toy import ToyModel
from support.toy_run import LABELS, TARGET, run_toy, toy_args, toy_data

SETTINGS = {"alpha_optimizer": "auto", "num_train_epochs": 2}


def taken(history):
    return [entry["alpha_optimizer"] for entry in history]


class OtherLoss(ToyModel):
    """The toy with a loss that `secant` does not know."""

    def forward(self, task, x=None, labels=None):
        outputs = super().forward(task, x, labels)
        if labels is not None and outputs["logits"].shape[-1] > 1:
            outputs["loss"] = F.multi_margin_loss(outputs["logits"], labels)
        return outputs


def test_equals_secant_where_the_loss_allows_it(tmp_path, caplog):
    auto = run_toy(tmp_path / "a", **SETTINGS)["history"]
    secant = run_toy(tmp_path / "b", **SETTINGS | {"alpha_optimizer": "secant"})["history"]
    assert taken(auto) == ["secant", "secant"]
    assert [entry["alpha"] for entry in auto] == [entry["alpha"] for entry in secant]
    assert "takes 'sgd'" not in caplog.text


@pytest.mark.parametrize(
    "settings",
    [{"alpha_granularity": "layer"}, {"alpha_l1": 0.01}, {"alpha_objective": "entropy"}],
    ids=lambda settings: " ".join(settings),
)
def test_settings_that_need_gradients_take_sgd(settings, tmp_path):
    auto = run_toy(tmp_path / "a", **SETTINGS | settings)["history"]
    sgd = run_toy(tmp_path / "b", **SETTINGS | settings | {"alpha_optimizer": "sgd"})["history"]
    assert [entry["alpha"] for entry in auto] == [entry["alpha"] for entry in sgd]


def trained_on_another_loss(folder, checkpoint=None, **settings):
    train, meta = toy_data()
    trainer = MultitaskTrainer(
        model=OtherLoss(LABELS),
        args=toy_args(folder, **SETTINGS | settings),
        train_dataset=train,
        eval_dataset={TARGET: meta},
    )
    trainer.train(checkpoint)
    return trainer.history


def test_another_loss_takes_sgd_and_says_so(tmp_path, caplog):
    auto = trained_on_another_loss(tmp_path / "a")
    assert "alpha_optimizer='auto' takes 'sgd' in this run. The reason: " in caplog.text
    assert "squared error or binary cross-entropy of the target's logits" in caplog.text
    assert taken(auto) == ["sgd", "sgd"]
    sgd = trained_on_another_loss(tmp_path / "b", alpha_optimizer="sgd")
    assert [entry["alpha"] for entry in auto] == [entry["alpha"] for entry in sgd]
    assert any(value != 1 for value in auto[1]["alpha"].values())


def with_drawn_labels(folder, draw, **settings):
    """A trained trainer whose collator of the target draws the labels."""
    train, meta = toy_data()

    def collate(rows):
        batch = default_data_collator(rows)
        return batch | {"labels": draw(len(rows))}

    trainer = MultitaskTrainer(
        model=ToyModel(LABELS),
        args=toy_args(folder, **SETTINGS | settings),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        data_collator={TARGET: collate},
    )
    trainer.train()
    return trainer


def test_labels_that_a_collator_draws_by_itself_take_sgd(tmp_path, caplog):
    own = torch.Generator().manual_seed(0)
    trainer = with_drawn_labels(tmp_path, lambda count: torch.randint(2, (count,), generator=own))
    assert "gives them other labels in each" in caplog.text
    assert taken(trainer.history) == ["sgd", "sgd"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda count: torch.randint(2, (count,)),
        lambda count: torch.tensor([random.randrange(2) for _ in range(count)]),
        lambda count: torch.tensor(np.random.randint(2, size=count)),
    ],
    ids=["torch", "python", "numpy"],
)
def test_labels_drawn_from_global_generators_are_the_same_for_every_merge(draw, tmp_path):
    """Merges of a run that hardly moves differ by as little, whatever the collator draws in training."""
    trainer = with_drawn_labels(tmp_path, draw, learning_rate=1e-7)
    assert taken(trainer.history) == ["secant", "secant"]
    for entry in trainer.history:
        assert all(abs(effect["mean"]) < 1e-5 for effect in entry["contribution"].values())
        assert max(entry["meta_loss"]) - min(entry["meta_loss"]) < 1e-5
    assert entry["meta_loss"][0] > 0.1


def test_too_many_tasks_take_sgd(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("hf_alphavil.methods.secant.Secant.max_unknowns", 2)
    history = run_toy(tmp_path, **SETTINGS)["history"]
    assert "'secant' fits at most 2 values of α, and there are 3" in caplog.text
    assert taken(history) == ["sgd", "sgd"]


def test_a_resume_keeps_the_state_of_the_one_that_is_taken(tmp_path):
    whole = trained_on_another_loss(tmp_path, save_strategy="epoch")
    first = min(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    resumed = trained_on_another_loss(tmp_path, str(first), save_strategy="epoch")
    assert len(whole) == 2
    assert resumed == whole
