"""The learned weights as settings of other libraries, read as those read them."""

import math

import pytest
import yaml

from hf_alphavil.cli.main import main
from hf_alphavil.reporting import CardTask, write_history
from hf_alphavil.reporting.facts import RunFacts, write_facts
from hf_alphavil.reporting.mixture import FORMS, export_mixture

ROWS = {"big": 1000, "rte": 100, "none": 50, "bad": 50}
WEIGHTS = {"big": 1.0, "rte": 3.0, "none": 0.0, "bad": -0.5}


def facts(**changes):
    tasks = [CardTask(name, "sequence_classification", rows) for name, rows in ROWS.items()]
    return RunFacts(**{"model_name": "m", "target": "rte", "method": "alphavil", "tasks": tasks} | changes)


def history(weights=WEIGHTS, **changes):
    kept = {"epoch": 1, "task_weights": weights, "task_weights_used": dict.fromkeys(weights, 1.0), "kept": True}
    return [kept | changes, {**kept, "epoch": 2, "task_weights": dict.fromkeys(weights, 9.0), "kept": False}]


def test_trl_takes_shares_of_the_mixture():
    text, left_out = export_mixture("trl", facts(), history())
    assert yaml.safe_load(text) == {
        "datasets": [
            {"path": "rte", "split": "train", "fraction": 0.75},
            {"path": "big", "split": "train", "fraction": 0.25},
        ]
    }
    assert left_out == ["none (0.000)", "bad (-0.500)"]
    assert text.startswith("# The task weights of m after epoch 1 ")


def test_axolotl_draws_parts_of_each_dataset():
    datasets = yaml.safe_load(export_mixture("axolotl", facts(), history())[0])["datasets"]
    drawn = {entry["path"]: entry["weight"] * ROWS[entry["path"]] for entry in datasets}
    assert drawn["rte"] / sum(drawn.values()) == pytest.approx(0.75, rel=1e-4)
    assert max(entry["weight"] for entry in datasets) == 1.0
    with pytest.raises(ValueError, match="need the number of training rows, which is not known of big"):
        export_mixture("axolotl", facts(tasks=[CardTask("rte", "sequence_classification", 100)]), history())


def test_llamafactory_draws_by_probability():
    settings = yaml.safe_load(export_mixture("llamafactory", facts(), history())[0])
    assert settings == {"dataset": "rte,big", "mix_strategy": "interleave_under", "interleave_probs": "0.75,0.25"}
    with pytest.raises(ValueError, match="'a,b' has one"):
        export_mixture("llamafactory", facts(), history({"a,b": 1.0, "c": 1.0}))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("changes", "entries", "message"),
    [
        ({"method": "multitask"}, history(), "has learned no task weights .method multitask."),
        ({}, [], "has learned no task weights"),
        ({}, history({"rte": math.nan, "big": 1.0}), "weight of rte is not finite"),
        ({}, history({"rte": 0.0, "big": -1.0}), "no task has a weight above 0, and a mixture needs two"),
        ({"method": "stilts"}, history({"rte": 1.0, "big": 0.0}), "rte has a weight above 0, and a mixture needs two"),
    ],
)
def test_runs_without_weights_are_refused(form, changes, entries, message):
    with pytest.raises(ValueError, match=message):
        export_mixture(form, facts(**changes), entries)


def test_the_command_writes_a_file_and_says_what_is_left_out(tmp_path, capsys):
    write_history(history(), tmp_path)
    write_facts(facts(), tmp_path)
    assert main(["report", str(tmp_path), "--export-mixture", "trl"]) == 0
    wrote, left_out = capsys.readouterr().out.splitlines()
    assert wrote == f"wrote {tmp_path / 'mixture_trl.yaml'}"
    assert left_out == "left out, because their weight is not above 0: none (0.000), bad (-0.500)"
    assert (tmp_path / "mixture_trl.yaml").read_text() == export_mixture("trl", facts(), history())[0]
    assert not (tmp_path / "report.html").exists()
