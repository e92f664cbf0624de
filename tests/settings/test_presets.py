"""`alphavil_preset`: what it fills in, and that it fills in nothing else."""

import pytest

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.settings.presets import PRESETS, last_epochs
from support.toy_run import run_toy, toy_trainer

FILLED = ("joint_fraction", "final_target_epochs", "alpha_optimizer", "alpha_holdout_fraction", "min_target_weight")


JOINT, PAPER = (0.8, None, "auto", 0.3, 1.0), (0.0, 0, "sgd", 0.1, None)


def values_of(args):
    return tuple(getattr(args, name) for name in FILLED)


def filled(**settings):
    return values_of(MultitaskTrainingArguments("out", use_cpu=True, report_to=[], **settings))


def test_a_preset_fills_in_what_is_not_given():
    assert filled() == filled(alphavil_preset="joint") == JOINT
    assert filled(alphavil_preset="paper") == PAPER
    assert filled(joint_fraction=0.0, alpha_optimizer="sgd", final_target_epochs=0) == (0.0, 0, "sgd", 0.3, 1.0)
    assert filled(alphavil_preset="paper", alpha_holdout_fraction=0.2, joint_fraction=0.5) == (
        0.5,
        0,
        "sgd",
        0.2,
        None,
    )


def test_other_methods_have_the_paper_s_values():
    assert filled(method="diw") == filled(method="multitask") == PAPER


def test_presets_fill_in_all_settings_without_a_default():
    assert set(PRESETS["paper"]) == set(PRESETS["joint"]) == set(FILLED)


@pytest.mark.parametrize("changed", [{"alphavil_preset": "paper"}, {"method": "diw"}])
def test_a_preset_follows_what_is_set_later(changed, tmp_path):
    trainer = toy_trainer(tmp_path, alphavil_preset="joint", num_train_epochs=3, min_target_weight=0.5)
    for name, value in changed.items():
        setattr(trainer.args, name, value)
    trainer.args.alpha_holdout_fraction = 0.4
    trainer.train()
    assert values_of(trainer.args) == (*PAPER[:3], 0.4, 0.5)
    alone = run_toy(tmp_path, num_train_epochs=3, **changed, min_target_weight=0.5, alpha_holdout_fraction=0.4)
    assert trainer.history == alone["history"]


@pytest.mark.parametrize(("epochs", "last"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (10, 3)])
def test_the_last_third_of_the_epochs_trains_the_target_alone(epochs, last):
    assert last_epochs(None, epochs) == last
    assert last_epochs(0, epochs) == 0


def test_a_run_of_the_preset_is_that_of_its_values(tmp_path):
    ours = run_toy(tmp_path / "a", alphavil_preset="joint", num_train_epochs=5)
    spelt = {"joint_fraction": 0.8, "final_target_epochs": 2, "alpha_optimizer": "auto", "min_target_weight": 1.0}
    theirs = run_toy(tmp_path / "b", num_train_epochs=5, **spelt)
    assert ours["history"] == theirs["history"]
    assert [entry["alpha"] == {} for entry in ours["history"]] == [False, False, False, True, True]
    assert [entry.get("alpha_optimizer") for entry in ours["history"]] == ["secant"] * 3 + [None] * 2


def test_one_epoch_forks(tmp_path):
    (entry,) = run_toy(tmp_path, alphavil_preset="joint", num_train_epochs=1)["history"]
    assert entry["alpha"]


def resumed(folder, checkpoint, num_epochs):
    settings = {"alphavil_preset": "joint", "save_strategy": "steps", "save_steps": 1}
    return run_toy(folder, str(checkpoint), num_train_epochs=num_epochs, **settings)["history"]


def test_a_run_resumes_with_more_epochs_from_the_end_of_an_epoch(tmp_path, caplog):
    settings = {"alphavil_preset": "joint", "save_strategy": "steps", "save_steps": 1}
    first = run_toy(tmp_path, num_train_epochs=2, **settings)["history"]
    steps = [sum(entry["phase_steps"].values()) for entry in first]
    inside, end = (tmp_path / f"checkpoint-{number}" for number in (steps[0] - 1, steps[0]))
    with pytest.raises(ValueError, match=r"written with num_epochs=2, this run has 5: the plans would differ"):
        resumed(tmp_path / "inside", inside, 5)
    history = resumed(tmp_path / "end", end, 5)
    assert "The run resumes with 5 epochs, and its last epochs, which train the target alone, follow." in caplog.text
    assert [entry["alpha"] == {} for entry in history] == [False, False, False, True, True]
    assert history[0] == first[0]


def test_a_given_number_of_last_epochs_fixes_the_length(tmp_path):
    settings = {"final_target_epochs": 1, "save_strategy": "epoch"}
    run_toy(tmp_path, num_train_epochs=2, **settings)
    (first, _) = sorted(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    with pytest.raises(ValueError, match="the plans would differ"):
        run_toy(tmp_path / "more", str(first), num_train_epochs=3, **settings)
