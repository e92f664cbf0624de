"""Warnings about rows of the target that an auxiliary trains on, and about training rows of one label."""

from dataclasses import replace

import pytest
from datasets import Dataset
from torch.utils.data import Subset
from transformers import BertConfig

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from support.kinds_run import WORDS, every_kind, word_tokenizer
from support.toy_run import TARGET, toy_args, toy_data, toy_model

CONFIG = BertConfig(
    vocab_size=25, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=40,
)  # fmt: skip
TASKS = every_kind()
TEXTS = [f"{one} {other}" for one in WORDS for other in WORDS]


def task(name, texts, labels=None):
    labels = labels or [number % 2 for number in range(len(texts))]
    rows = Dataset.from_dict({"text": texts, "label": labels})
    return Task(name, "sequence_classification", ("text",), ("x", "y"), train=rows, validation=rows.select(range(8)))


def set_up(folder, *tasks, **settings):
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={task.name: task for task in tasks}))
    args = toy_args(folder, target_task=tasks[0].name, **{"alpha_data": "train_holdout"} | settings)
    by_name = {task.name: task for task in tasks}
    return MultitaskTrainer(model=model, args=args, tasks=by_name, processing_class=word_tokenizer())


@pytest.mark.parametrize("shared", [0, 1, 30, 100])
def test_rows_of_the_target_in_an_auxiliary(shared, tmp_path, caplog):
    target = task("target", TEXTS[:100])
    trainer = set_up(tmp_path, target, task("other", TEXTS[200:260]), task("twin", TEXTS[100 - shared : 150]))
    if not shared:
        assert "training rows of task" not in caplog.text
        return
    held_out = {tuple(row["input_ids"]) for row in trainer.meta_set}
    both = held_out & {tuple(row["input_ids"]) for row in trainer.train_datasets["twin"]}
    assert f"{shared} of the 100 rows of the target 'target' are training rows of task 'twin' too, " in caplog.text
    assert f"{len(both)} of them among the {len(held_out)} rows of the meta set" in caplog.text
    assert "task 'other' too" not in caplog.text


@pytest.mark.parametrize(("settings", "number"), [({"alpha_data": "train"}, 40), ({"alpha_data": "validation"}, 48)])
def test_meta_sets_of_other_rows(settings, number, tmp_path, caplog):
    set_up(tmp_path, task("target", TEXTS[:40]), task("twin", TEXTS[:60]), **settings)
    assert f"{number} of the {number} rows of the target" in caplog.text


def test_choices_and_words(tmp_path, caplog):
    for name in ("quiz", "names"):
        twin = Task.from_spec(replace(TASKS[name].spec, name="twin"), train=TASKS[name].train)
        set_up(tmp_path, TASKS[name], twin, alpha_data="train")
        assert f"24 of the 24 rows of the target '{name}' are training rows of task 'twin' too" in caplog.text


def test_datasets_of_a_user(tmp_path, caplog):
    """Rows without tokens are known by their place in one dataset."""
    train, meta = toy_data()
    shared = {TARGET: Subset(train[TARGET], range(30)), "c": Subset(train[TARGET], range(20, 37))}
    args = toy_args(tmp_path, alpha_data="train")
    MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={TARGET: meta})
    assert "are training rows" not in caplog.text
    MultitaskTrainer(model=toy_model(), args=args, train_dataset=shared, eval_dataset={TARGET: meta})
    assert "10 of the 30 rows of the target 'a' are training rows of task 'c' too" in caplog.text


# ---- One label


@pytest.mark.parametrize("name", ["target", "aux"])
def test_training_rows_of_one_class(name, tmp_path, caplog):
    one = {"target": [0, 1] * 50, "aux": [0, 1] * 20} | {name: [1] * (100 if name == "target" else 40)}
    trainer = set_up(tmp_path, task("target", TEXTS[:100], one["target"]), task("aux", TEXTS[200:240], one["aux"]))
    number = len(trainer.train_datasets[name])
    assert f"All {number} training rows of task '{name}' have the label 'y'" in caplog.text
    assert caplog.text.count("training rows of task") == 1


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [("names", 0, "'O'"), ("score", 0.5, "0.5"), ("tags", [1], "(0.0, 1.0, 0.0)"), ("quiz", 0, "'0'")],
)
def test_of_other_kinds(name, label, said, tmp_path, caplog):
    def same(row):
        return {"label": [label] * len(row["words"].split()) if name == "names" else label}

    one = Task.from_spec(TASKS[name].spec, train=TASKS[name].train.map(same))
    set_up(tmp_path, one, alpha_data="train")
    assert f"All 24 training rows of task '{name}' have the label {said}" in caplog.text
    caplog.clear()
    set_up(tmp_path, TASKS[name], alpha_data="train")
    assert "All 24" not in caplog.text
