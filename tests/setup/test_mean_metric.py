"""`metric_for_best_model="mean"`: the mean of the main metrics of all tasks that evaluations cover."""

import pytest
from transformers import EarlyStoppingCallback

from hf_alphavil import MultitaskTrainer, Task
from support.kinds_run import every_kind, kinds_trainer, word_tokenizer
from support.toy_run import toy_trainer

EVALUATED = {
    "target": "names", "leave_out": ("score", "quiz", "prose", "other"), "metric_for_best_model": "mean",
    "eval_auxiliaries": True, "method": "multitask",
}  # fmt: skip


def test_the_mean_chooses_the_best_model(tmp_path):
    trainer = kinds_trainer(
        tmp_path, num_train_epochs=3, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        logging_strategy="epoch", learning_rate=1e-2, optim="adamw_torch", **EVALUATED,
    )  # fmt: skip
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("eval_mean", True)
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=1))
    trainer.train()
    means = [entry["eval_mean"] for entry in trainer.state.log_history if "eval_mean" in entry]
    assert trainer.state.best_metric == max(means)
    stopping = next(one for one in trainer.callback_handler.callbacks if isinstance(one, EarlyStoppingCallback))
    assert stopping.early_stopping_patience_counter == (0 if means[-1] == max(means) and len(set(means)) > 1 else 1)
    scores = trainer.evaluate()
    parts = [scores["eval_pair_accuracy"], scores["eval_tags_f1_micro"], scores["eval_names_span_f1"]]
    assert scores["eval_mean"] == pytest.approx(sum(parts) / 3) == trainer.state.best_metric
    assert "eval_mean" not in trainer.evaluate("pair")
    trainer.create_model_card()


def with_less_is_better():
    task = every_kind()["score"]
    return Task(
        "score", "regression", "text", metrics=("mean_squared_error",), train=task.train, validation=task.validation
    )


REFUSED = {
    "one task": ({"eval_auxiliaries": False}, "evaluations cover only 'names': pass eval_auxiliaries=True"),
    "no metrics": ({"prediction_loss_only": True}, "no main metric of 'names', 'pair', 'tags' is known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mean_that_means_nothing_is_refused(case, tmp_path):
    settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        kinds_trainer(tmp_path, **EVALUATED | settings)


def test_metrics_of_the_users_own_have_no_mean(tmp_path):
    with pytest.raises(ValueError, match="evaluations cover only 'a'"):
        toy_trainer(tmp_path, metric_for_best_model="mean", eval_auxiliaries=True)


def test_opposite_directions_have_no_mean(tmp_path):
    trainer = kinds_trainer(tmp_path, **EVALUATED)
    tasks = {"pair": every_kind()["pair"], "score": with_less_is_better()}
    trainer.args.target_task = "pair"
    with pytest.raises(ValueError, match="greater is better for pair and worse for score"):
        MultitaskTrainer(model=trainer.model, args=trainer.args, tasks=tasks, processing_class=word_tokenizer())
