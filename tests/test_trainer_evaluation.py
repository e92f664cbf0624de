"""Scores of MultitaskTrainer: their names and values, the best model and early stopping."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from support.evaluating import accuracy, evaluating_trainer
from support.toy_run import TARGET, toy_data, toy_model


def test_scores_are_named_by_task(tmp_path):
    trainer = evaluating_trainer(tmp_path, compute_metrics={TARGET: accuracy})
    target = trainer.evaluate()
    assert {"eval_a_loss", "eval_a_accuracy"} <= set(target)
    assert "eval_b_loss" not in target
    auxiliary = trainer.evaluate("b")
    assert "eval_b_loss" in auxiliary
    assert "eval_b_accuracy" not in auxiliary  # no function was given for it
    both = trainer.evaluate(trainer.eval_dataset)
    assert both["eval_a_accuracy"] == target["eval_a_accuracy"]
    assert both["eval_b_loss"] == auxiliary["eval_b_loss"]
    _, meta = toy_data()
    assert trainer.evaluate(meta, metric_key_prefix="fresh")["fresh_a_loss"] == target["eval_a_loss"]


def test_scores_are_right(tmp_path):
    """Loss and accuracy of the untrained toy, against the model called directly."""
    trainer = evaluating_trainer(tmp_path)
    _, meta = toy_data()
    model = toy_model()
    logits = torch.stack([model(TARGET, row["x"][None])["logits"][0] for row in meta])
    labels = torch.stack([torch.as_tensor(row["labels"]) for row in meta])
    scores = trainer.evaluate()
    assert scores["eval_a_accuracy"] == pytest.approx((logits.argmax(-1) == labels).double().mean().item())
    assert scores["eval_a_loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-6)
    predicted = trainer.predict(meta)
    np.testing.assert_allclose(predicted.predictions, logits.detach().numpy(), atol=1e-12)
    assert "test_a_accuracy" in predicted.metrics


def test_a_loop_over_a_loader_has_the_metrics_of_its_task(tmp_path):
    metrics = {TARGET: accuracy, "b": lambda prediction: {"rows": float(len(prediction.label_ids))}}
    trainer = evaluating_trainer(tmp_path, compute_metrics=metrics)
    for name, metric in ((TARGET, "eval_accuracy"), ("b", "eval_rows")):
        loop = trainer.evaluation_loop(trainer.get_eval_dataloader(name), description="x", metric_key_prefix="eval")
        assert loop.metrics[metric] == trainer.evaluate(name)[metric.replace("eval", f"eval_{name}")]
    # A training set of a task is its rows too.
    loader = trainer.get_eval_dataloader(trainer.train_datasets["b"])
    assert trainer.evaluation_loop(loader, description="x").metrics["eval_rows"] == len(trainer.train_datasets["b"])


def test_auxiliaries_are_evaluated_when_asked_for(tmp_path):
    trainer = evaluating_trainer(
        tmp_path, logging_strategy="epoch", eval_auxiliaries=True, eval_strategy="epoch", num_train_epochs=1
    )
    trainer.train()
    logged = set().union(*trainer.state.log_history)
    assert {"eval_a_accuracy", "eval_b_accuracy", "loss_a", "loss_b", "loss_c", "alpha_b", "weight_b"} <= logged


def test_persistent_workers_keep_tasks_apart(tmp_path):
    settings = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    with_workers = evaluating_trainer(tmp_path, **settings)
    without = evaluating_trainer(tmp_path)
    train, _ = toy_data()
    for name in (TARGET, "b"):
        assert with_workers.evaluate(name)[f"eval_{name}_loss"] == without.evaluate(name)[f"eval_{name}_loss"]
    given = {"b": train["b"], "c": train["c"]}
    assert with_workers.evaluate(given)["eval_c_loss"] == without.evaluate({"c": train["c"]})["eval_c_loss"]


@pytest.mark.parametrize(
    ("given", "resolved", "greater"),
    [
        (None, "eval_a_loss", False),
        ("loss", "eval_a_loss", False),
        ("accuracy", "eval_a_accuracy", True),
        ("eval_accuracy", "eval_a_accuracy", True),
        ("eval_a_accuracy", "eval_a_accuracy", True),
        ("eval_b_loss", "eval_b_loss", False),
    ],
)
def test_metric_for_best_model(given, resolved, greater, tmp_path):
    trainer = evaluating_trainer(tmp_path, metric_for_best_model=given)
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == (resolved, greater)


def test_best_model_is_loaded_at_the_end(tmp_path):
    trainer = evaluating_trainer(
        tmp_path,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1.0,
        num_train_epochs=6,
    )
    trainer.train()
    losses = [entry["eval_a_loss"] for entry in trainer.state.log_history if "eval_a_loss" in entry]
    assert losses.index(min(losses)) != len(losses) - 1, "the last model is the best: the test would show nothing"
    assert trainer.state.best_metric == min(losses)
    assert trainer.evaluate()["eval_a_loss"] == min(losses)
    best = load_file(f"{trainer.state.best_model_checkpoint}/model.safetensors")
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, best[name])


def test_early_stopping(tmp_path):
    trainer = evaluating_trainer(
        tmp_path,
        callbacks=[EarlyStoppingCallback(1)],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1.5,
        num_train_epochs=6,
    )
    trainer.train()
    assert 2 <= len(trainer.history) < 6
    assert trainer.evaluate()["eval_a_loss"] == trainer.state.best_metric
