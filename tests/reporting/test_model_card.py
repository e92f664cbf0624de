"""The model card: the Hub's own classes can read it, and it states how far the scores can be trusted."""

import math
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from hf_alphavil.methods import METHODS
from hf_alphavil.reporting import CardScore, CardTask, write_model_card
from hf_alphavil.reporting.card import MULTITASK_SETTINGS, SETTINGS, settings_of
from hf_alphavil.reporting.local_paths import is_hub_id, without_local_paths
from support.example_run import HISTORY

TASKS = [
    CardTask("mrpc", "sequence_classification", 3668, "nyu-mll/glue", "mrpc"),
    CardTask("rte", "sequence_classification", 2241, "nyu-mll/glue", "rte"),
]
SCORES = [CardScore("rte", "validation", "accuracy", 0.75), CardScore("rte", "test", "accuracy", 0.7)]


def write(tmp_path, **changes):
    settings = {
        "model_name": "rte-alphavil",
        "target": "rte",
        "method": "alphavil",
        "tasks": TASKS,
        "scores": SCORES,
        "history": HISTORY,
        "alpha_data": "train_holdout",
        "meta_rows": 249,
        "base_model": "FacebookAI/roberta-base",
        "training": {"learning_rate": 2e-5, "seed": 42},
    }
    return write_model_card(tmp_path / "model", **{**settings, **changes})


def test_the_card_loads_and_keeps_its_metadata(tmp_path):
    card = ModelCard.load(write(tmp_path, license="mit", language="en", repository="me/rte", root="target"))
    data = card.data
    assert data.library_name == "transformers"
    assert data.base_model == "FacebookAI/roberta-base"
    assert data.pipeline_tag == "text-classification"
    assert data.datasets == ["nyu-mll/glue"]
    assert data.metrics == ["accuracy"]
    assert (data.license, data.language) == ("mit", "en")
    assert "alphavil" in data.tags
    assert [(r.dataset_config, r.dataset_split, r.metric_value) for r in data.eval_results] == [
        ("rte", "validation", 0.75),
        ("rte", "test", 0.7),
    ]


def test_the_front_matter_has_a_model_index(tmp_path):
    _, front_matter, _ = write(tmp_path).read_text(encoding="utf-8").split("---\n", 2)
    (entry,) = yaml.safe_load(front_matter)["model-index"]
    assert entry["name"] == "rte-alphavil"
    result = entry["results"][0]
    assert result["task"] == {"type": "text-classification", "name": "rte"}
    assert result["dataset"] == {"name": "rte", "type": "nyu-mll/glue", "config": "rte", "split": "validation"}
    assert result["metrics"] == [{"type": "accuracy", "value": 0.75, "name": "accuracy"}]


def test_the_card_says_where_the_data_are_from_and_their_licences(tmp_path):
    tasks = [replace(TASKS[1], license="other"), CardTask("tickets", "sequence_classification", 90, license="cc0-1.0")]
    text = write(tmp_path, tasks=tasks).read_text(encoding="utf-8")
    place = "[nyu-mll/glue](https://huggingface.co/datasets/nyu-mll/glue), `rte`"
    assert f"| rte | {place} | other |\n| tickets | – | cc0-1.0 |\n\n*other*: the Hub names no single" in text
    assert "not stated" in write(tmp_path).read_text(encoding="utf-8")
    without = write(tmp_path, tasks=[CardTask("rte", "sequence_classification", 90)])
    assert "## Data" not in without.read_text(encoding="utf-8")


def test_the_task_table_starts_with_the_target(tmp_path):
    text = write(tmp_path).read_text(encoding="utf-8")
    target = "| **rte** (target) | sequence classification | 2241 (+ 249 held out) | 1.750 | 1.250 |"
    auxiliary = "| mrpc | sequence classification | 3668 | 0.100 | -0.500 |"
    assert f"{target}\n{auxiliary}" in text
    chosen = [{**entry, "chosen_auxiliaries": ["mrpc"]} for entry in HISTORY]
    text = write(tmp_path, history=chosen).read_text(encoding="utf-8")
    assert "| training rows | epochs that chose it | final weight |" in text
    assert "| mrpc | sequence classification | 3668 | 2 | 0.100 | -0.500 |" in text


@pytest.mark.parametrize(
    ("settings", "validation_remark"),
    [
        ({}, ""),
        ({"alpha_data": "validation"}, "optimistic: α was fitted on this split"),
        ({"selected_on": "validation"}, "optimistic: the best model was selected on it"),
        (
            {"alpha_data": "validation", "selected_on": "validation"},
            "optimistic: α was fitted on this split and the best model was selected on it",
        ),
        ({"alpha_data": None}, ""),
        ({"alpha_data": "test"}, ""),
    ],
)
def test_optimistic_scores_say_so_and_others_do_not(tmp_path, settings, validation_remark):
    text = write(tmp_path, **settings).read_text(encoding="utf-8")
    assert f"| rte | validation | accuracy | 0.7500 | {validation_remark} |" in text
    test_remark = "optimistic: α was fitted on this split's text" if settings.get("alpha_data") == "test" else ""
    assert f"| rte | test | accuracy | 0.7000 | {test_remark} |" in text
    assert ("How α was fitted" in text) == (settings.get("alpha_data", "train_holdout") is not None)
    assert ("therefore optimistic" in text) == (settings.get("alpha_data") == "validation")


def test_held_out_rows_are_mentioned(tmp_path):
    assert "α was fitted on 249 rows of `rte`'s training data that were held out" in write(tmp_path).read_text("utf-8")
    in_the_end = write(tmp_path, meta_rows_trained_in_the_end=True).read_text("utf-8")
    assert "not trained on before the last epochs, which train on the target alone. Neither" in in_the_end
    with pytest.raises(ValueError, match="train_holdout"):
        write(tmp_path, alpha_data="dev")


def test_a_local_base_model_stays_out_of_the_metadata(tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    card = ModelCard.load(write(tmp_path, base_model=str(encoder)))
    assert card.data.base_model is None
    assert str(tmp_path) not in card.text
    assert "a local encoder, fine-tuned" in card.text
    cached = write(tmp_path, base_model="/home/me/.cache/hub/models--org--tiny/snapshots/0a1b")
    assert ModelCard.load(cached).data.base_model == "org/tiny"
    assert "a local encoder, fine-tuned" in write(tmp_path, base_model=None).read_text(encoding="utf-8")


def test_hub_ids_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert is_hub_id("google-bert/bert-base-cased")
    assert is_hub_id("gpt2")
    for path in ("out", "./encoder", "/models/bert", "a/b/c", "~/bert"):
        assert not is_hub_id(path)


def test_of_a_local_path_the_last_part_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "rte").mkdir(parents=True)
    values = {"a": f"{tmp_path}/encoder/", "b": ["out/rte", "me/rte", 3], "c": {"d": "~/x"}, "e": "../y", "f": "rte"}
    expected = {"a": "encoder", "b": ["rte", "me/rte", 3], "c": {"d": "x"}, "e": "y", "f": "rte"}
    assert without_local_paths(values) == expected


def test_the_example_of_a_multi_label_task_shows_all_labels(tmp_path):
    tasks = [CardTask("tags", "sequence_classification", 90, problem_type="multi_label_classification")]
    card = ModelCard.load(write(tmp_path, target="tags", tasks=tasks, scores=[]))
    assert "top_k=None)" in card.text
    assert "| **tags** (target) | multi-label classification | 90 (+ 249 held out) |" in card.text


@pytest.mark.parametrize(
    ("num_texts", "call"),
    [(1, 'classify("The text.")'), (2, 'classify({"text": "The first text.", "text_pair": "The second text."})')],
)
def test_the_example_has_as_many_texts_as_the_task(num_texts, call, tmp_path):
    tasks = [replace(task, num_texts=num_texts) for task in TASKS]
    assert f"print({call})" in write(tmp_path, tasks=tasks).read_text(encoding="utf-8")


def test_rows_of_another_set_are_not_counted_as_held_out(tmp_path):
    assert "held out)" not in write(tmp_path, alpha_data="validation").read_text(encoding="utf-8")


def test_multiple_choice_is_loaded_by_its_auto_class(tmp_path):
    card = ModelCard.load(write(tmp_path, target="copa", tasks=[CardTask("copa", "multiple_choice", 400)], scores=[]))
    assert card.data.pipeline_tag is None
    assert "AutoModelForMultipleChoice" in card.text
    assert "pipeline(" not in card.text
    assert "print(choices[logits.argmax()])" in card.text


def test_scores_that_are_not_finite_stay_out_of_the_index(tmp_path):
    card = ModelCard.load(write(tmp_path, scores=[CardScore("rte", "test", "accuracy", math.nan)]))
    assert not card.data.eval_results
    assert "| nan |" in card.text


def test_unusual_values_do_not_break_the_tables(tmp_path):
    text = write(tmp_path, training={"note": "a|b\nc"}, model_name='a: "b" # c').read_text(encoding="utf-8")
    assert "| `note` | a\\|b c |" in text
    assert ModelCard(text).data.model_name == 'a: "b" # c'


def test_the_card_has_paper_usage_and_plot(tmp_path):
    text = write(tmp_path, exported_to="me/rte", plot="plots/task_weights.png").read_text(encoding="utf-8")
    for part in (
        "2405.07769",
        "@article{",
        'model="me/rte"',
        "](plots/task_weights.png)",
        "| `learning_rate` | 2e-05 |",
    ):
        assert part in text


def test_a_template_of_your_own(tmp_path):
    template = tmp_path / "mine.md"
    template.write_text(
        "---\n{{ card_data }}\n---\n\n# {{ model_name }} of my group\n\n{{ tasks }}\n", encoding="utf-8"
    )
    card = ModelCard.load(write(tmp_path, template=template))
    assert card.data.datasets == ["nyu-mll/glue"]
    assert "# rte-alphavil of my group" in card.text
    assert "| **rte** (target) |" in card.text
    assert "## " not in card.text


def test_unknown_tasks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the card has no task 'cb', only mrpc, rte: pass a CardTask"):
        write(tmp_path, target="cb")


def test_a_card_lists_the_settings_that_the_method_reads():
    listed = {name: set(settings_of(method)) - set(SETTINGS) for name, method in METHODS.items()}
    assert listed["alphavil"] == set(MULTITASK_SETTINGS)
    assert listed["single"] == {"delta_fraction"}
    assert listed["multitask"] == {"delta_fraction", "task_sampling", "weight_applies_to"}
    assert listed["forkmerge"] == {"delta_fraction", "phase_optimizer_state", "alpha_data"}
    assert listed["hydalearn"] == {"delta_fraction", "alpha_data", "alpha_batch_size"}
