"""`alphavil_preset`: what it fills in, and that it fills in nothing else."""

import pytest

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.settings.presets import PRESETS, last_epochs
from support.toy_run import run_toy

FILLED = ("joint_fraction", "final_target_epochs", "alpha_optimizer", "alpha_holdout_fraction")


def filled(**settings):
    args = MultitaskTrainingArguments("out", use_cpu=True, report_to=[], **settings)
    return tuple(getattr(args, name) for name in FILLED)


def test_a_preset_fills_in_what_is_not_given():
    assert filled() == filled(alphavil_preset="joint") == (0.8, None, "auto", 0.3)
    assert filled(alphavil_preset="paper") == (0.0, 0, "sgd", 0.1)
    assert filled(joint_fraction=0.0, alpha_optimizer="sgd", final_target_epochs=0) == (0.0, 0, "sgd", 0.3)
    assert filled(alphavil_preset="paper", alpha_holdout_fraction=0.2, joint_fraction=0.5) == (0.5, 0, "sgd", 0.2)


def test_other_methods_have_the_paper_s_values():
    assert filled(method="diw") == filled(method="multitask") == (0.0, 0, "sgd", 0.1)


def test_presets_fill_in_all_settings_without_a_default():
    assert set(PRESETS["paper"]) == set(FILLED)
    assert set(PRESETS["joint"]) == set(FILLED) - {"final_target_epochs"}


@pytest.mark.parametrize(("epochs", "last"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (10, 3)])
def test_the_last_third_of_the_epochs_trains_the_target_alone(epochs, last):
    assert last_epochs(None, epochs) == last
    assert last_epochs(0, epochs) == 0


def test_a_run_of_the_preset_is_that_of_its_values(tmp_path):
    ours = run_toy(tmp_path / "a", alphavil_preset="joint", num_train_epochs=5)
    spelt = {"joint_fraction": 0.8, "final_target_epochs": 2, "alpha_optimizer": "auto"}
    theirs = run_toy(tmp_path / "b", num_train_epochs=5, **spelt)
    assert ours["history"] == theirs["history"]
    assert [entry["alpha"] == {} for entry in ours["history"]] == [False, False, False, True, True]
    assert [entry.get("alpha_optimizer") for entry in ours["history"]] == ["secant"] * 3 + [None] * 2


def test_one_epoch_forks(tmp_path):
    (entry,) = run_toy(tmp_path, alphavil_preset="joint", num_train_epochs=1)["history"]
    assert entry["alpha"]
