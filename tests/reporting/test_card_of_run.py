"""The card of a run."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

import hf_alphavil
from hf_alphavil import MultitaskTrainer
from hf_alphavil.reporting.effective import effective_settings
from reference.toy import ToyModel
from support.toy_run import META_ROWS, TARGET, accuracy, toy_args, toy_data, toy_model, toy_trainer


@pytest.fixture
def trained(tmp_path):
    train, meta = toy_data()
    args = toy_args(tmp_path / "my-model", num_train_epochs=1, load_best_model_at_end=False)
    trainer = MultitaskTrainer(
        model=toy_model(),
        args=args,
        train_dataset=train,
        eval_dataset={TARGET: meta},
        compute_metrics={TARGET: accuracy},
    )
    trainer.train()
    trainer.evaluate()
    return trainer


def test_card_of_a_run(trained):
    trained.create_model_card()
    card = ModelCard.load(Path(trained.args.output_dir) / "README.md")
    (result,) = card.data.eval_results
    score = trained.evaluate()["eval_a_accuracy"]
    assert (card.data.model_name, result.metric_type, result.metric_value) == ("my-model", "accuracy", score)
    for task, weight in trained.history[-1]["task_weights"].items():
        assert f"{weight:.3f}" in card.text, task
    majority = np.bincount([int(row["labels"]) for row in trained.eval_dataset[TARGET]]).max() / META_ROWS
    assert re.search(rf"\| a \| validation \| accuracy \| {score:.4f} \| .* \| {majority:.4f} \|", card.text)
    assert score < majority
    (line,) = re.findall("## Tasks\n\n(.*)", card.text)
    assert line.startswith("**Not better than the majority class: the target's validation accuracy is ")
    # α was fitted on the validation rows here. The card must state what that means.
    assert "optimistic" in card.text
    assert "| `weight_applies_to` | loss |" in card.text
    assert "| hardware | CPU |" in card.text
    assert f"| software | hf_alphavil {hf_alphavil.__version__}, torch {torch.__version__}," in card.text


def test_the_card_lists_the_batch_size_that_took_effect(tmp_path, monkeypatch):
    rows = []
    forward = ToyModel.forward

    def forward_in_little_memory(self, task, x=None, labels=None):
        if torch.is_grad_enabled():
            if len(x) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            rows.append(len(x))
        return forward(self, task, x, labels)

    monkeypatch.setattr(ToyModel, "forward", forward_in_little_memory)
    settings = {"auto_find_batch_size": True, "alphavil_preset": "joint", "alpha_optimizer": "auto"}
    trainer = toy_trainer(tmp_path, num_train_epochs=1, per_device_train_batch_size=6, **settings)
    trainer.train()
    trainer.create_model_card()
    facts = trainer._run_facts()
    said = {"per_device_train_batch_size": f"6 ({max(rows)} took effect)", "alpha_optimizer": "auto (secant)"}
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for name, value in said.items():
        assert f"| `{name}` | {value} |" in card
        assert facts.training[name] == facts.changed[name] == value


def test_settings_that_the_run_resolves_have_the_value_that_took_effect(tmp_path):
    args = toy_args(tmp_path, alphavil_preset="joint", alpha_optimizer="auto", num_train_epochs=3)
    assert effective_settings(args, []) == {"alpha_optimizer": "auto (secant)", "final_target_epochs": 1}
    history = [{"alpha_optimizer": "sgd", "trains_held_out": False}, {"trains_held_out": True}]
    assert effective_settings(args, history) == {"alpha_optimizer": "auto (sgd)", "final_target_epochs": 1}
    assert effective_settings(args, history[:1])["final_target_epochs"] == 0
    assert effective_settings(toy_args(tmp_path, final_target_epochs=2), history) == {}


def test_epochs_that_lost_all_auxiliaries_are_no_last_epochs(tmp_path):
    """Six epochs, the auxiliary pruned in the first: the last two are those of `final_target_epochs`."""
    train, meta = toy_data()
    args = toy_args(
        tmp_path, alpha_data="train_holdout", alphavil_preset="joint", num_train_epochs=6, target_phase="last",
        joint_fraction=0.0, prune_below=0.99, prune_patience=1, min_task_weight=0.0, learning_rate=0.3,
        alpha_optimizer="sgd", normalize_task_weights="none",
    )  # fmt: skip
    trainer = MultitaskTrainer(
        model=toy_model(), args=args, train_dataset={name: train[name] for name in ("a", "b")},
        eval_dataset={TARGET: meta}, compute_metrics=accuracy,
    )  # fmt: skip
    trainer.train()
    assert [set(entry["phase_steps"]) == {"(target)"} for entry in trainer.history] == [False] + [True] * 5
    assert [entry["trains_held_out"] for entry in trainer.history] == [False] * 4 + [True] * 2
    trainer.create_model_card()
    assert "| `final_target_epochs` | 2 |" in (tmp_path / "README.md").read_text(encoding="utf-8")


def percent(prediction):
    return {"accuracy": 100 * accuracy(prediction)["accuracy"]}


def test_a_metric_in_percent_is_no_share_of_rows(tmp_path):
    train, meta = toy_data()
    trainer = MultitaskTrainer(
        model=toy_model(), args=toy_args(tmp_path, num_train_epochs=1), train_dataset=train,
        eval_dataset={TARGET: meta}, compute_metrics=percent,
    )  # fmt: skip
    trainer.train()
    score = trainer.evaluate()["eval_a_accuracy"]
    assert 1 < score <= 100
    trainer.create_model_card()
    trainer.write_report()
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"| a | validation | accuracy | {score:.4f} |" in text
    assert "95 % interval" not in text


def test_a_card_takes_what_it_is_told(trained, caplog, tmp_path):
    trained.args.model_card_template = str(tmp_path / "mine.md")
    (tmp_path / "mine.md").write_text(
        "---\n{{ card_data }}\n---\n\n# {{ model_name }} of my group\n", encoding="utf-8"
    )
    trained.create_model_card("de", "apache-2.0", "other", "By position", tasks="rte")
    data = ModelCard.load(Path(trained.args.output_dir) / "README.md").data
    assert (data.language, data.license, data.model_name) == ("de", "apache-2.0", "By position")
    assert "other" in data.tags
    assert "# By position of my group" in Path(trained.args.output_dir, "README.md").read_text(encoding="utf-8")
    assert "so tasks has no effect" in caplog.text


def test_a_trainer_that_has_not_trained_leaves_a_card_alone(trained, caplog):
    trained.create_model_card()
    file = Path(trained.args.output_dir) / "README.md"
    card = file.read_text(encoding="utf-8")
    train, meta = toy_data()
    fresh = MultitaskTrainer(
        model=toy_model(), args=trained.args, train_dataset=train, eval_dataset={TARGET: meta}
    )  # fmt: skip
    fresh.create_model_card()
    assert file.read_text(encoding="utf-8") == card
    assert "README.md is kept: this trainer has not trained" in caplog.text
    file.unlink()
    fresh.create_model_card()
    assert file.is_file()
