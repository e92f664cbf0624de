"""`add_auxiliaries`: a working Trainer's model, arguments and parts are the target's; what is not carried is said."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    EarlyStoppingCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_alphavil import add_auxiliaries
from support.kinds_run import every_kind, word_tokenizer
from support.modeling_helpers import WIDE_BERT
from support.toy_run import accuracy

KINDS = every_kind()
RAW = KINDS["pair"].train.remove_columns("other").cast_column("label", ClassLabel(names=["a", "b"]))


def tokenised(rows=RAW):
    return rows.map(lambda row: dict(word_tokenizer()(row["text"])), remove_columns=["text"]).rename_column(
        "label", "labels"
    )


ROWS = tokenised()


class Noted(TrainerCallback):
    pass


def stock(folder, trainer_class=Trainer, model=None, settings=None, **arguments):
    torch.manual_seed(0)
    defaults = {"num_train_epochs": 2, "report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    defaults = {**defaults, "learning_rate": 3e-3, "logging_strategy": "no", **(settings or {})}
    return trainer_class(
        model=model or BertForSequenceClassification(BertConfig(**WIDE_BERT)),
        args=TrainingArguments(str(folder), **defaults),
        **{
            "train_dataset": ROWS, "eval_dataset": ROWS, "processing_class": word_tokenizer(),
            "compute_metrics": accuracy, **arguments,
        },
    )  # fmt: skip


def extended(folder, auxiliaries=None, settings=None, **arguments):
    auxiliaries = auxiliaries or {"score": KINDS["score"]}
    return add_auxiliaries(
        stock(folder, **arguments), auxiliaries, "reviews", **{"alpha_data": "train"} | (settings or {})
    )


def test_a_trained_target_is_what_the_trainer_would_have_written(tmp_path):
    callbacks = [Noted(), EarlyStoppingCallback(5)]
    settings = {
        "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "weight_decay": 0.1,
        "metric_for_best_model": "accuracy", "warmup_steps": 2,
    }  # fmt: skip
    before = stock(tmp_path, settings=settings, callbacks=callbacks)
    before.save_model(tmp_path / "stock")
    start = {name: weights.clone() for name, weights in before.model.state_dict().items()}
    auxiliaries = {"score": KINDS["score"], "names": KINDS["names"], "raw": RAW, "tokens": ROWS}
    trainer = add_auxiliaries(before, auxiliaries, "reviews", alpha_data="train", method="multitask")
    same = before.model.state_dict()
    assert all(torch.equal(weights, same[name]) for name, weights in start.items())
    assert list(trainer.train_datasets) == ["reviews", *auxiliaries]
    assert all(callback in trainer.callback_handler.callbacks for callback in callbacks)
    trainer.train()
    scores = trainer.evaluate()
    assert "eval_reviews_accuracy" in scores
    assert trainer.state.best_metric is not None

    trainer.export_task("reviews", tmp_path / "export")
    stock_names, weights = (load_file(tmp_path / name / "model.safetensors") for name in ("stock", "export"))
    assert stock_names.keys() == weights.keys()
    assert any(not torch.equal(weights[name], start[name]) for name in weights)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export")
    assert loaded.config.id2label == before.model.config.id2label
    predicted = trainer.predict(ROWS).predictions
    for model in (loaded, before.model.eval()):  # the user's own object is trained too
        exported = Trainer(
            model=model,
            args=TrainingArguments(str(tmp_path), report_to=[], use_cpu=True),
            processing_class=word_tokenizer(),
        ).predict(ROWS)
        np.testing.assert_allclose(exported.predictions, predicted, atol=1e-6)
    trainer.save_model(tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    assert {name.split(".")[1] for name in whole if name.startswith("tasks.")} == {"reviews", *auxiliaries}


def test_arguments_keep_their_values(tmp_path, caplog):
    given = {
        "per_device_train_batch_size": 3, "lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 1},
        "max_grad_norm": 0.5, "seed": 7, "optim": "sgd", "label_smoothing_factor": 0.1, "eval_strategy": "steps",
    }  # fmt: skip
    before = stock(tmp_path, settings=given)
    trainer = add_auxiliaries(before, {"score": KINDS["score"]}, "reviews", max_grad_norm=2.0, alpha_steps=3)
    old, new = before.args.to_dict(), trainer.args.to_dict()
    differ = {name for name in old if old[name] != new[name]}
    assert differ <= {"max_grad_norm", "metric_for_best_model", "greater_is_better", "ddp_find_unused_parameters"}
    assert (new["max_grad_norm"], trainer.args.alpha_steps, trainer.args.target_task) == (2.0, 3, "reviews")
    assert new["metric_for_best_model"] == "eval_reviews_loss"


def test_callbacks_that_were_removed_stay_away(tmp_path):
    before = stock(tmp_path, settings={"disable_tqdm": False})
    before.remove_callback(ProgressCallback)
    trainer = add_auxiliaries(before, {"score": KINDS["score"]}, "reviews")
    assert not any(isinstance(callback, ProgressCallback) for callback in trainer.callback_handler.callbacks)
    before = stock(tmp_path, settings={"disable_tqdm": False})
    trainer = add_auxiliaries(before, {"score": KINDS["score"]}, "reviews")
    assert sum(isinstance(callback, ProgressCallback) for callback in trainer.callback_handler.callbacks) == 1


class OwnLoss(Trainer):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


class OwnName(Trainer):
    def greet(self):
        return "hello"


class OwnModel(BertForSequenceClassification):
    pass


def with_another_head():
    model = BertForSequenceClassification(BertConfig(**WIDE_BERT))
    model.classifier = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 2))
    return model


def trained(trainer):
    trainer.args.max_steps = 1
    trainer.train()
    return trainer


def patched(trainer):
    trainer.training_step = lambda *args: None
    return trainer


REFUSED = {
    "an own loss": (lambda folder: stock(folder, OwnLoss), "OwnLoss overrides compute_loss of transformers.Trainer"),
    "a patched trainer": (lambda folder: patched(stock(folder)), "Trainer overrides training_step"),
    "a loss function": (
        lambda folder: stock(folder, compute_loss_func=lambda *args, **kwargs: None),
        "its compute_loss_func would compute",
    ),
    "an optimizer": (lambda folder: trained(stock(folder)), "its optimizer or scheduler is built already"),
    "parameters": (
        lambda folder: stock(folder, optimizer_cls_and_kwargs=(torch.optim.SGD, {"params": []})), "name parameters"
    ),
    "model_init": (
        lambda folder: Trainer(
            model_init=lambda: BertForSequenceClassification(BertConfig(**WIDE_BERT)),
            args=TrainingArguments(str(folder), report_to=[], use_cpu=True), train_dataset=ROWS,
        ),
        "`model_init`: pass `model`",
    ),
    "no head": (lambda folder: stock(folder, model=nn.Linear(2, 2)), "its model is a Linear"),
    "an own class": (lambda folder: stock(folder, model=OwnModel(BertConfig(**WIDE_BERT))), "OwnModel is not a class"),
    "an own head": (
        lambda folder: stock(folder, model=with_another_head()), r"other weights than .* \(classifier.0.bias"
    ),
    "no rows": (lambda folder: stock(folder, train_dataset=None), "it has no train_dataset"),
    "several validation sets": (
        lambda folder: stock(folder, eval_dataset={"one": ROWS, "two": ROWS}), "its eval_dataset is a dict"
    ),
    "not a trainer": (lambda folder: BertModel, "expected a transformers.Trainer"),
    "a multitask trainer": (extended, "is a MultitaskTrainer already"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_carried_over_is_refused(case, tmp_path):
    make, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        add_auxiliaries(make(tmp_path), {"score": KINDS["score"]}, "reviews")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_are_refused(tmp_path):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        BertForSequenceClassification(BertConfig(**WIDE_BERT)), peft.LoraConfig(task_type="SEQ_CLS")
    )
    with pytest.raises(ValueError, match="its model has adapters"):
        extended(tmp_path, model=model)


def test_names_and_columns_are_checked(tmp_path):
    trainer = stock(tmp_path)
    with pytest.raises(ValueError, match="target='score' is the name of an auxiliary"):
        add_auxiliaries(trainer, {"score": KINDS["score"]}, "score")
    for odd in ([dict(ROWS[0])], {"kind": "regression", "labels": None}):
        with pytest.raises(
            TypeError, match=r"the auxiliary 'odd' is a (list|dict): pass a Task, a `datasets.Dataset`"
        ):
            add_auxiliaries(trainer, {"odd": odd}, "reviews")
    with pytest.raises(ValueError, match="there are no auxiliary tasks"):
        add_auxiliaries(trainer, {}, "reviews")
    config = BartConfig(
        vocab_size=25, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=40,
    )  # fmt: skip
    rows = ROWS.add_column("decoder_input_ids", ROWS["input_ids"][:])
    with pytest.raises(ValueError, match="reads the columns decoder_input_ids of the training rows"):
        extended(tmp_path, model=BartForSequenceClassification(config), train_dataset=rows)


def test_what_is_left_behind_is_said(tmp_path, caplog):
    extended(tmp_path, trainer_class=OwnName)
    assert "it has none of the methods that OwnName adds" in caplog.text
