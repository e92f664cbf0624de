"""Task descriptions and the configuration."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, BertConfig

from hf_alphavil.modeling import MultitaskConfig
from support.modeling_helpers import ENCODERS, TASKS

TWO = ["no", "yes"]


def test_json_round_trip_is_exact(encoder_config, tmp_path):
    encoder_config.num_labels = 7
    encoder_config.id2label = {index: f"old {index}" for index in range(7)}
    config = MultitaskConfig(encoder=encoder_config, tasks=TASKS)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)

    assert type(loaded) is MultitaskConfig
    assert type(loaded.encoder) is type(encoder_config)
    assert loaded.encoder.to_dict() == {**encoder_config.to_dict(), "_name_or_path": loaded.encoder.name_or_path}
    assert loaded.encoder.id2label == encoder_config.id2label  # int keys
    assert loaded.tasks == config.tasks
    assert list(loaded.tasks) == list(TASKS)
    for task in TASKS:
        assert loaded.task_config(task).id2label == config.task_config(task).id2label
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()


def test_default_configuration_round_trips(tmp_path):
    MultitaskConfig().save_pretrained(tmp_path)
    loaded = MultitaskConfig.from_pretrained(tmp_path)
    assert loaded.tasks == {}
    assert isinstance(loaded.encoder, BertConfig)


def test_task_config_is_a_native_copy():
    config = MultitaskConfig(encoder=ENCODERS["bert"](), tasks=TASKS)
    cb = config.task_config("cb")
    assert type(cb) is BertConfig
    assert (cb.num_labels, cb.id2label, cb.label2id) == (3, {0: "a", 1: "b", 2: "c"}, {"a": 0, "b": 1, "c": 2})
    assert cb.problem_type == "single_label_classification"
    assert config.task_config("sts-b").num_labels == 1
    assert config.task_config("sts-b").problem_type == "regression"
    assert config.task_config("copa").id2label == {0: "choice1", 1: "choice2"}
    assert config.encoder.num_labels == 2
    assert config.encoder.problem_type is None
    with pytest.raises(ValueError, match="unknown task 'mnli'"):
        config.task_config("mnli")


def test_configurations_do_not_share_a_list_of_tasks():
    heads = {"a": {"kind": "sequence_classification", "labels": list(TWO)}}
    first = MultitaskConfig(tasks=heads)
    second = MultitaskConfig(tasks=first.to_dict()["tasks"])
    assert second.tasks == first.tasks
    heads["a"]["labels"].append("maybe")
    second.tasks["a"]["labels"].append("perhaps")
    assert first.tasks["a"]["labels"] == TWO


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "ä", 3, "a\n"])
def test_bad_task_names(name):
    with pytest.raises(ValueError, match="a task name is made of"):
        MultitaskConfig(tasks={name: TASKS["rte"]})


@pytest.mark.parametrize("name", ["train", "keys", "type", "forward", "training", "_modules"])
def test_names_that_torch_modules_use(name):
    with pytest.raises(ValueError, match=f"task name '{name}' is taken.*{name}_task"):
        MultitaskConfig(tasks={name: TASKS["rte"]})


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        ({}, ValueError, "unknown kind None"),
        ({"kind": "span"}, ValueError, "unknown kind 'span', known are .*multiple_choice"),
        ({"kind": "regression", "label": TWO}, ValueError, r"unknown fields \['label'\]"),
        ({"kind": "sequence_classification"}, ValueError, "'t': classification needs at least two labels"),
        ({"kind": "sequence_classification", "labels": []}, ValueError, "at least two"),
        ({"kind": "sequence_classification", "labels": ["a"]}, ValueError, "at least two"),
        ({"kind": "sequence_classification", "labels": ["a", "a"]}, ValueError, "differ"),
        ({"kind": "sequence_classification", "labels": [0, 1]}, ValueError, "list of strings"),
        ({"kind": "sequence_classification", "labels": "ab"}, ValueError, "list of strings"),
        ({"kind": "sequence_classification", "labels": TWO, "problem_type": "regression"}, ValueError, "problem_type"),
        ({"kind": "regression", "labels": TWO}, ValueError, "one output"),
        ({"kind": "regression", "problem_type": "single_label_classification"}, ValueError, "problem_type"),
        ({"kind": "multiple_choice", "problem_type": "regression"}, ValueError, "no problem_type"),
        (None, TypeError, "must be a dict"),
        ("regression", TypeError, "must be a dict"),
    ],
)
def test_bad_heads(head, error, message):
    with pytest.raises(error, match=message):
        MultitaskConfig(tasks={"t": head})


def test_tasks_of_another_type():
    with pytest.raises(TypeError, match="dict from task name"):
        MultitaskConfig(tasks="rte")


def test_values_that_base_classes_set_reach_the_encoder():
    config = MultitaskConfig(encoder=ENCODERS["qwen2"](), tasks=TASKS)
    config.use_cache = False  # as Trainer does
    config.pad_token_id = 5
    assert config.encoder.use_cache is False
    assert config.encoder.pad_token_id == 5
    assert config.get_text_config() is config.encoder
    assert config.keys_to_ignore_at_inference == ["past_key_values"]
