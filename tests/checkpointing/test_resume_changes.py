"""Resume with something changed: refused before training with what differs, or told, or without effect."""

import copy
import json
import re
from dataclasses import fields

import pytest
import torch
from torch.utils.data import Subset
from transformers import EarlyStoppingCallback

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.checkpointing.fingerprint import settings_fingerprint
from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.checkpointing.resume_rules import CHANGES_WITH_WARNING, MAY_CHANGE, MUST_MATCH, check_resume
from support.comparing import assert_same_run
from support.resumed_run import RUN
from support.toy_run import TARGET, RecordingTrainer, accuracy, run_toy, toy_args, toy_data, toy_model, toy_trainer

SETTINGS = RUN | {"max_phase_steps": 2, "save_steps": 2, "joint_fraction": 0.3}
MIDDLE = "checkpoint-4"  # between two phases of the first epoch


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    return folder, run_toy(folder, **SETTINGS)


def refused(stopped, tmp_path, trainer, *messages):
    """The trainer cannot resume, and has not trained."""
    folder, _ = stopped
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(ValueError, match="the run cannot resume from") as error:
        trainer.train(resume_from_checkpoint=str(folder / MIDDLE))
    for message in messages:
        assert re.search(message, str(error.value)), str(error.value)
    assert trainer.state.global_step == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


# ---- The list of all settings


def test_every_setting_has_one_rule():
    names = [entry.name for entry in fields(MultitaskTrainingArguments)]
    assert sorted([*MUST_MATCH, *CHANGES_WITH_WARNING, *MAY_CHANGE]) == sorted(names)


def test_a_checkpoint_holds_what_is_compared_and_no_secret(stopped, tmp_path):
    folder, _ = stopped
    state = json.loads((folder / MIDDLE / "multitask_state.json").read_text())
    assert set(state["fingerprint"]["settings"]) == MUST_MATCH | CHANGES_WITH_WARNING
    assert "hub_token" not in settings_fingerprint(toy_args(tmp_path, hub_token="secret"))


@pytest.fixture(scope="module")
def same_args(tmp_path_factory):
    return toy_trainer(tmp_path_factory.mktemp("same"), **SETTINGS).args


OTHER_VALUES = {"method": "multitask", "method_kwargs": '{"probe_fraction": 0.4}', "normalize_task_weights": "none"}


@pytest.mark.parametrize("name", sorted([*MUST_MATCH, *CHANGES_WITH_WARNING, *MAY_CHANGE]))
def test_another_value_of_every_setting(name, stopped, same_args, caplog):
    """An error or a warning gives the name, the old value and the new one."""
    folder, _ = stopped
    fingerprint = json.loads((folder / MIDDLE / "multitask_state.json").read_text())["fingerprint"]
    args = copy.copy(same_args)
    if name == "method_kwargs":
        args.method = fingerprint["settings"]["method"] = "diw"
        fingerprint["settings"]["method_kwargs"] = {"probe_fraction": 0.5}
    setattr(args, name, OTHER_VALUES.get(name, "another"))
    mine = fingerprint | {"settings": settings_fingerprint(args)}
    old, new = fingerprint["settings"].get(name), mine["settings"].get(name)
    said = f"{name}={old}, this run has {new}"
    if name == "method_kwargs":
        said = "method_kwargs.probe_fraction=0.5, this run has 0.4"
    if name in MUST_MATCH:
        with pytest.raises(ValueError, match=re.escape(f"was written with {said}")):
            check_resume("c", fingerprint, mine)
        assert old != new
    else:
        check_resume("c", fingerprint, mine)
        told = f"was written with {name}={old}, this run has another" in caplog.text
        assert told == (name in CHANGES_WITH_WARNING)


def test_all_that_differs_is_listed_at_once(stopped, tmp_path):
    trainer = toy_trainer(tmp_path, **SETTINGS | {"learning_rate": 0.5, "alpha_steps": 7, "seed": 3, "data_seed": 42})
    refused(stopped, tmp_path, trainer, "learning_rate=0.01, this run has 0.5", "alpha_steps=5, .*7", "seed=42, .*3")


def test_the_same_values_in_other_words_match(stopped, tmp_path):
    folder, whole = stopped
    same = {"data_seed": 42, "alpha_init": 1, "method_kwargs": "{}", "normalize_task_weights": "all"}
    assert_same_run(whole, run_toy(tmp_path, resume_from_checkpoint=str(folder / MIDDLE), **SETTINGS | same))


def test_what_may_change_has_no_effect(stopped, tmp_path, caplog):
    folder, whole = stopped
    changed = {
        "save_steps": 1000,
        "save_total_limit": 1,
        "dataloader_num_workers": 1,
        "per_device_eval_batch_size": 3,
        "optimizer_state_device": "cpu",
        "phase_parallel": "auto",
        "logging_first_step": True,
        "run_name": "again",
    }
    resumed = run_toy(tmp_path, resume_from_checkpoint=str(folder / MIDDLE), **SETTINGS | changed)
    assert_same_run(whole, resumed)
    assert "was written with" not in caplog.text


def test_what_changes_with_a_warning(stopped, tmp_path, caplog):
    folder, _ = stopped
    changed = {"num_train_epochs": 3, "eval_strategy": "epoch", "per_device_train_batch_size": 8}
    changed["gradient_accumulation_steps"] = 1
    run = run_toy(tmp_path, resume_from_checkpoint=str(folder / MIDDLE), **SETTINGS | changed)
    assert len(run["history"]) == 3
    (told,) = [r.getMessage() for r in caplog.records if "was written with" in r.getMessage()]
    assert "num_train_epochs=2, this run has 3" in told
    assert "eval_strategy=no, this run has epoch" in told
    assert "gradient_accumulation_steps=2, this run has 1" in told


def test_fewer_epochs_than_the_checkpoint_has_are_refused(stopped, tmp_path):
    folder, _ = stopped
    late = checkpoints(folder)[1]
    with pytest.raises(ValueError, match=r"was written in epoch 2, .* this run has 1 epochs .*pass at least as many"):
        toy_trainer(tmp_path, **SETTINGS | {"num_train_epochs": 1}).train(resume_from_checkpoint=str(late))


def test_a_finished_run_ends_again(stopped, tmp_path):
    folder, whole = stopped
    last = checkpoints(folder)[0]
    assert_same_run(whole, run_toy(tmp_path, resume_from_checkpoint=str(last), **SETTINGS))


@pytest.mark.parametrize("end", ["inside an epoch", "early"])
def test_a_run_that_has_ended_takes_no_further_step(end, tmp_path):
    """Nor if it ended inside an epoch, or by early stopping. With fewer steps than it has taken, it is refused."""
    settings = SETTINGS | {"method": "multitask", "max_steps": 3, "save_steps": 1}
    patience = []
    if end == "early":
        settings |= {"num_train_epochs": 6, "max_steps": -1, "eval_strategy": "epoch", "save_strategy": "epoch"}
        settings |= {"learning_rate": 3.0, "max_phase_steps": 1, "load_best_model_at_end": True, "method": "alphavil"}
        patience = [1]
    stopping = [[EarlyStoppingCallback(number) for number in patience] for _ in range(2)]
    run = run_toy(tmp_path / "whole", callbacks=stopping[0], **settings)
    assert len(run["history"]) < 6
    last = checkpoints(tmp_path / "whole")[0]
    assert_same_run(
        run, run_toy(tmp_path / "again", resume_from_checkpoint=str(last), callbacks=stopping[1], **settings)
    )
    if end != "early":
        with pytest.raises(ValueError, match=r"at step 3, and this run has 1 epochs and 2 steps"):
            run_toy(tmp_path / "less", resume_from_checkpoint=str(last), **settings | {"max_steps": 2})


# ---- Tasks and rows


def other_data(folder, change, **settings):
    """A trainer whose datasets `change(train, meta)` has changed."""
    train, meta = toy_data()
    changed = change(train, meta) or (train, meta)
    return RecordingTrainer(
        model=toy_model(noisy=True),
        args=toy_args(folder, **{k: v for k, v in SETTINGS.items() if k != "noisy"} | settings),
        train_dataset=changed[0],
        eval_dataset={TARGET: changed[1]},
        compute_metrics=accuracy,
    )


def flip_a_label(rows, number):
    return [{**row, "labels": 1 - row["labels"]} if i == number else row for i, row in enumerate(rows)]


@pytest.mark.parametrize("order", [("a", "c", "b"), ("b", "a", "c"), ("c", "b", "a")])
def test_another_order_of_tasks(order, stopped, tmp_path):
    trainer = toy_trainer(tmp_path, order=order, **SETTINGS)
    refused(
        stopped, tmp_path, trainer, r"tasks in order=\['a', 'b', 'c'\], this run has " + re.escape(str(list(order)))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train, meta: train.update(b=list(reversed(list(train["b"])))), "training rows of b=50 rows .*50 rows"),
        (lambda train, meta: train.update(c=flip_a_label(train["c"], 22)), r"training rows of c=23 rows \(content"),
        (
            lambda train, meta: train.update(c=Subset(train["c"], range(22))),
            "training rows of c=23 rows .*has 22 rows",
        ),
        (lambda train, meta: (train, flip_a_label(meta, 5)), "rows of the meta set=40 rows"),
        (lambda train, meta: train.pop("c") and None, r"tasks in order=\['a', 'b', 'c'\], this run has \['a', 'b'\]"),
    ],
    ids=["order", "label", "fewer", "meta", "task"],
)
def test_other_rows(change, message, stopped, tmp_path):
    refused(stopped, tmp_path, other_data(tmp_path, change), message)


def test_other_validation_rows_are_told(tmp_path, caplog):
    def no_change(train, meta):
        return train, meta

    def other_validation(train, meta):
        return train, flip_a_label(meta, 1)

    other_data(tmp_path, no_change, alpha_data="train").train()
    checkpoint = str(tmp_path / MIDDLE)
    other_data(tmp_path / "2", other_validation, alpha_data="train").train(resume_from_checkpoint=checkpoint)
    assert re.search("validation rows of a=40 rows .*, this run has 40 rows", caplog.text)


class RandomRows(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return row | {"x": row["x"] + torch.randn_like(row["x"])}


def test_rows_that_are_random_are_compared_by_number(tmp_path):
    """And comparing them changes no random number of the run."""

    def augment(train, meta):
        train["b"] = RandomRows(train["b"])

    without = other_data(tmp_path / "0", augment, save_strategy="no")
    without.train()
    whole = other_data(tmp_path / "1", augment)
    whole.train()
    resumed = other_data(tmp_path / "2", augment)
    resumed.train(resume_from_checkpoint=str(tmp_path / "1" / MIDDLE))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, without.model.state_dict()[name])
        assert tensor.shape == resumed.model.state_dict()[name].shape


# ---- Model and optimizer


def toy_with(folder, change, optimizer=None):
    """A trainer of a model that `change(model)` has changed; `optimizer(parameters)` makes its optimizer."""
    trainer = toy_trainer(folder, **SETTINGS)
    change(trainer.model)
    if optimizer is not None:
        trainer.optimizer = optimizer(trainer.model.parameters())
    return trainer


def more_dropout(model):
    model.encoder[-1].p = 0.3


def freeze(model):
    next(model.parameters()).requires_grad_(False)


def wider(model):
    first = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    first.weight = torch.nn.Parameter(torch.cat([first.weight.detach()] * 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (more_dropout, r"modules.*Dropout\(p=0.2, inplace=False\), this run has .*p=0.3"),
        (freeze, r"parameters, number 1=.*, this run has .*\(frozen\)"),
        (wider, "parameters, number 1=.*, this run has"),
    ],
)
def test_another_model(change, message, stopped, tmp_path):
    refused(stopped, tmp_path, toy_with(tmp_path, change), message)


def test_another_optimizer_of_ones_own(stopped, tmp_path):
    for make, message in (
        (lambda parameters: torch.optim.SGD(parameters, lr=0.01), "optimizer=AdamW, this run has SGD"),
        (lambda parameters: torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1), r"another optimizer"),
        (lambda parameters: torch.optim.AdamW(list(parameters)[::-1], lr=0.01, weight_decay=0.1), "another optimizer"),
    ):
        folder, _ = stopped
        trainer = toy_with(tmp_path, lambda model: None, make)
        with pytest.raises(ValueError, match=message):
            trainer.train(resume_from_checkpoint=str(folder / MIDDLE))
