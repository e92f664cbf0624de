"""Card, table, plot and history describe the model that a run kept, and the card lists what the user changed."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from transformers import TrainerCallback

from hf_alphavil import MultitaskTrainer
from hf_alphavil.reporting import (
    format_comparison_table,
    format_summary_table,
    plot_task_weights,
    read_history,
    write_history,
)
from hf_alphavil.reporting.card import last_scores
from hf_alphavil.reporting.history import kept_entry
from hf_alphavil.script_arguments import DriverArguments
from hf_alphavil.settings.changed import changed_fields
from support.evaluating import evaluating_trainer
from support.example_run import HISTORY
from support.kinds_run import kinds_trainer
from support.toy_run import TARGET, toy_args, toy_data, toy_model

#: The scores of three epochs: the second is the best.
SCORES = [0.25, 0.875, 0.5]
#: The second of two epochs was the last, but the first was kept.
FIRST_KEPT = [{**HISTORY[0], "kept": True}, {**HISTORY[1], "kept": False}]


def train_with_scores(folder, **settings):
    """Trains the toy for three epochs whose validation scores are `SCORES`, and loads the best."""
    train, meta = toy_data()
    trainers = []

    def accuracy(prediction):  # inside the first epoch, and before training, the last score
        return {"accuracy": SCORES[round((trainers[0].state.epoch if trainers else None) or 0) - 1]}

    defaults = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer = MultitaskTrainer(
        model=toy_model(),
        args=toy_args(folder, metric_for_best_model="accuracy", **(defaults | settings)),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        compute_metrics=accuracy,
    )
    trainers.append(trainer)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def best_of_three(tmp_path_factory):
    return train_with_scores(tmp_path_factory.mktemp("best") / "run")


def test_the_history_marks_the_kept_epoch(best_of_three, tmp_path):
    assert [entry["kept"] for entry in best_of_three.history] == [False, True, False]
    assert read_history(write_history(best_of_three.history, tmp_path)) == best_of_three.history


def test_the_card_shows_the_kept_epoch(best_of_three, tmp_path):
    best_of_three.create_model_card()
    card = (best_of_three.run_dir / "README.md").read_text(encoding="utf-8")
    assert "| weight after epoch 2 | α of epoch 2 |" in card
    assert "The best model was kept: that of epoch 2 of 3." in card
    kept, last = best_of_three.history[1], best_of_three.history[2]
    for task, alpha in kept["alpha"].items():
        assert f"| {kept['task_weights'][task]:.3f} | {alpha:.3f} |" in card
        assert f"| {last['task_weights'][task]:.3f} | {last['alpha'][task]:.3f} |" not in card
    assert "| accuracy | 0.8750 |" in card  # the best model's score, although another was logged after it
    assert "0.5000" not in card


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"save_only_model": True}, [False, True, False]),
        ({"load_best_model_at_end": False}, [None, None, None]),
        ({"method": "multitask", "eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 3,
          "max_steps": 18}, None),
    ],
)  # fmt: skip
def test_the_kept_epoch_of_other_runs(tmp_path, settings, kept):
    trainer = train_with_scores(tmp_path / "run", **settings)
    if kept is None:  # the best model is from inside the first epoch, before any was finished
        assert not any(entry["kept"] for entry in trainer.history)
        assert kept_entry(trainer.history) == {}
        trainer.create_model_card()
        assert "It is from the first epoch, before its end." in (tmp_path / "run" / "README.md").read_text()
    else:
        assert [entry.get("kept") for entry in trainer.history] == kept


def test_tables_and_plot_show_the_kept_epoch(tmp_path):
    table = format_summary_table("rte", "accuracy", 0.5, FIRST_KEPT, "alphavil")
    assert "(method alphavil, epochs 2, kept epoch 1)" in table
    assert table.splitlines()[-2].split() == ["rte", "(target)", "1.500", "1.500"]
    assert "1.500" in format_comparison_table("rte", "accuracy", {"alphavil": (0.5, FIRST_KEPT)})
    assert "kept" not in format_summary_table("rte", "accuracy", 0.5, HISTORY, "alphavil")
    marked = plot_task_weights(FIRST_KEPT, "rte", tmp_path / "kept.png").read_bytes()
    assert marked != plot_task_weights(HISTORY, "rte", tmp_path / "last.png").read_bytes()


def test_scores_after_training_are_the_kept_model_s():
    log = [{"eval_a_f1": 0.1, "step": 1}, {"eval_a_f1": 0.9, "step": 2}, {"eval_a_f1": 0.3, "step": 3}]
    log += [{"train_runtime": 1.0, "step": 3}]
    assert [score.value for score in last_scores(log, ["a"], best_step=2)] == [0.9]
    assert [score.value for score in last_scores(log, ["a"])] == [0.3]
    assert [score.value for score in last_scores([*log, {"eval_a_f1": 0.8, "step": 3}], ["a"], best_step=2)] == [0.8]


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 13


def test_a_score_of_an_older_model_says_so(tmp_path):
    trainer = evaluating_trainer(tmp_path, method="multitask", eval_strategy="steps", eval_steps=10)
    trainer.add_callback(StopAt())
    trainer.train()
    (at,) = [entry for entry in trainer.state.log_history if "eval_a_accuracy" in entry]
    assert (at["step"], trainer.state.global_step) == (10, 13)
    trainer.create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    assert f"| {at['eval_a_accuracy']:.4f} |" in card.text
    assert "of the model at step 10, before the training's end |" in card.text
    assert not card.data.eval_results
    now = trainer.evaluate()["eval_a_accuracy"]
    trainer.create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    assert "at step 10" not in card.text
    assert [result.metric_value for result in card.data.eval_results] == [now]


def test_scores_of_other_rows_are_not_of_the_validation_set(tmp_path):
    trainer = evaluating_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    validation = trainer.eval_dataset[TARGET]
    score = trainer.evaluate()["eval_a_accuracy"]
    other = trainer.evaluate(trainer.train_datasets[TARGET])["eval_a_accuracy"]
    assert other != score
    for again in (None, TARGET, validation, validation.dataset):
        if again is not None:
            assert trainer.evaluate(again)["eval_a_accuracy"] == score
        trainer.create_model_card()
        assert [one.metric_value for one in ModelCard.load(tmp_path / "README.md").data.eval_results] == [score]


def test_the_card_names_the_scores_that_chose(tmp_path):
    trainer = kinds_trainer(
        tmp_path, target="names", num_train_epochs=2, eval_auxiliaries=True, metric_for_best_model="pair_accuracy",
        eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, alpha_data="train",
    )  # fmt: skip
    trainer.train()
    trainer.create_model_card()
    chose = [
        line
        for line in (tmp_path / "README.md").read_text().splitlines()
        if "the best model was selected on it" in line
    ]
    assert [line.split("|")[1:4:2] for line in chose] == [[" pair ", " accuracy "]]


def test_the_card_lists_every_changed_argument(tmp_path):
    """Those that were given, those that were set later, and a script's; nothing that is at its default."""
    train, meta = toy_data()
    given = {"num_train_epochs": 1, "weight_decay": 0.125, "hub_token": "secret", "sampling_temperature": 3}
    args = toy_args(tmp_path / "run", **given)
    args.adam_beta1 = 0.75
    args.script_settings = changed_fields(DriverArguments(target="rte", max_train_samples=7))
    trainer = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={TARGET: meta})
    trainer.train()
    trainer.create_model_card()
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    for name, value in {"weight_decay": 0.125, "adam_beta1": 0.75, "sampling_temperature": 3, "max_train_samples": 7,
                        "target_task": "a", "use_cpu": True, "alpha_data": "validation"}.items():  # fmt: skip
        assert f"| `{name}` | {value} |" in card
    set_by_someone, defaults = card.split("## Training settings")[1].split("<details>")
    assert "| `target_task` |" in set_by_someone
    assert "| `seed` |" not in set_by_someone
    assert "| `seed` | 42 |" in defaults
    assert "secret" not in card
    for name in ("adam_beta2", "ddp_find_unused_parameters", "greater_is_better", "lora_r"):
        assert f"`{name}`" not in card


def test_arguments_that_are_copied_or_changed_later(tmp_path):
    args = toy_args(tmp_path)
    assert "bf16" not in args.changed()
    copied = replace(args, weight_decay=0.5)
    assert copied.changed()["weight_decay"] == 0.5
    copied.warmup_steps = 3
    assert copied.changed()["warmup_steps"] == 3
