"""Resume with other adapters, or with adapters on another encoder, which the checkpoint does not hold."""

import pytest
import torch

from support.bert_run import adapted, bert_model, bert_trainer

# PEFT itself imports a deprecated name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def other_encoder():
    model = bert_model()
    with torch.no_grad():
        model.encoder.embeddings.word_embeddings.weight += 0.01
    return adapted(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: adapted(lora_r=3),
            r"adapter default: r=2, this run has 3.*parameters, number|parameters, number.*r=2",
        ),
        (lambda: adapted(lora_alpha=8), "adapter default: lora_alpha=4, this run has 8"),
        (lambda: adapted(lora_dropout=0.3), "adapter default: lora_dropout=0.0, this run has 0.3"),
        (other_encoder, "weights below the adapters=.*, this run has"),
        (bert_model, r"adapters=\['default'\], this run has None"),
        (lambda: adapted(bert_model(dropout=0.1)), "config: encoder.hidden_dropout_prob=0.0, this run has 0.1"),
    ],
    ids=["rank", "alpha", "dropout", "encoder", "none", "encoder_dropout"],
)
def test_other_adapters(make, message, adapted_run, tmp_path):
    trainer = bert_trainer(tmp_path, model=make(), num_train_epochs=1)
    with pytest.raises(ValueError, match=f"the run cannot resume from .*{message}"):
        trainer.train(resume_from_checkpoint=adapted_run)


@pytest.fixture(scope="module")
def adapted_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    bert_trainer(folder, model=adapted(), num_train_epochs=1, save_strategy="steps", save_steps=2).train()
    return str(folder / "checkpoint-2")
