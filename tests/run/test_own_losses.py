"""Losses of the user's own: they get the number of items of a step, and go through the trainer's step."""

import pytest
import torch
from transformers import Trainer

from support.toy_run import RecordingTrainer, run_toy, toy_trainer


def loss_per_item(outputs, labels, num_items_in_batch):
    return torch.nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


class ScaledLossTrainer(RecordingTrainer):
    loss_is_scaled_for_ga = True

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        count = len(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch
        loss = loss_per_item(outputs, inputs["labels"], count)
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(
            {"trainer_class": ScaledLossTrainer},
            id="subclass",
            marks=pytest.mark.skipif(
                not hasattr(Trainer, "loss_is_scaled_for_ga"), reason="this Trainer does not know scaled losses"
            ),
        ),
        pytest.param({}, id="function"),
    ],
)
def test_a_loss_of_ones_own_gets_the_number_of_items(own, tmp_path):
    settings = {"num_train_epochs": 1, "gradient_accumulation_steps": 2}
    trainer = toy_trainer(tmp_path, **own, **settings)
    if not own:
        trainer.compute_loss_func = loss_per_item
    trainer.train()
    for name, tensor in run_toy(tmp_path, **settings)["state"].items():
        torch.testing.assert_close(trainer.model.state_dict()[name], tensor)


class ReplacedStepTrainer(RecordingTrainer):
    """Has a copy of Trainer's step in place of the trainer's own."""

    def training_step(self, model, inputs, num_items_in_batch=None):
        model.train()
        loss = self.compute_loss(model, self._prepare_inputs(inputs), num_items_in_batch=num_items_in_batch)
        self.accelerator.backward(loss)
        return loss.detach()


class ExtendedStepTrainer(RecordingTrainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        return super().training_step(model, inputs, num_items_in_batch)


@pytest.mark.parametrize("method", ["alphavil", "multitask"])
def test_a_step_that_replaces_the_trainer_s_is_refused(method, tmp_path):
    trainer = toy_trainer(tmp_path / "replaced", trainer_class=ReplacedStepTrainer, method=method)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"a step of task '.' gave no loss .* call `super\(\).training_step"):
        trainer.train()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    extended = toy_trainer(tmp_path, trainer_class=ExtendedStepTrainer, method=method)
    extended.train()
    assert extended.history == run_toy(tmp_path, method=method)["history"]
