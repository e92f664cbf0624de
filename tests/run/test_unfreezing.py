"""Parameters that a callback freezes and unfreezes during training."""

import pytest
import torch
from transformers import TrainerCallback

from support.toy_run import RecordingTrainer, toy_trainer


class UnfreezeFrom(TrainerCallback):
    """Lets the first layer train from an epoch on."""

    def __init__(self, layer, epoch, freezes):
        self.layer, self.epoch, self.freezes = layer, epoch, freezes

    def on_train_begin(self, args, state, control, **kwargs):
        if self.freezes:
            self.layer.requires_grad_(False)

    def on_epoch_begin(self, args, state, control, **kwargs):
        if round(state.epoch) == self.epoch:
            self.layer.requires_grad_(True)


def unfreezing(folder, freezes, **settings):
    trainer = toy_trainer(folder, trainer_class=RecordingTrainer, **{"num_train_epochs": 3} | settings)
    trainer.add_callback(UnfreezeFrom(trainer.model.encoder[0].requires_grad_(freezes), 1, freezes))
    return trainer


def test_a_layer_that_is_frozen_at_first_is_merged_later(tmp_path):
    trainer = unfreezing(tmp_path, freezes=True)
    trainer.train()
    moved = [max(float(delta["encoder.0.weight"].abs().max()) for delta in epoch["delta"].values())
             for epoch in trainer.epochs]  # fmt: skip
    assert moved[0] == 0 < min(moved[1:])
    last = trainer.epochs[-1]
    alpha = trainer.history[-1]["alpha"]
    merged = last["theta0"]["encoder.0.weight"] + sum(
        a * last["delta"][t]["encoder.0.weight"] for t, a in alpha.items()
    )
    torch.testing.assert_close(last["theta"]["encoder.0.weight"], merged)


def test_a_layer_that_was_not_to_be_trained_is_not_unfrozen_between_forks(tmp_path):
    trainer = unfreezing(tmp_path, freezes=False)
    with pytest.raises(
        RuntimeError, match=r"2 parameters have become trainable .*\(encoder.0.weight, encoder.0.bias\)"
    ):
        trainer.train()
    assert len(trainer.history) == 1


def test_methods_without_forks_take_it(tmp_path):
    unfreezing(tmp_path, freezes=False, method="multitask").train()
