"""Losses of the user's own: they get the number of items of a step."""

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
