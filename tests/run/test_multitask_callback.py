"""Callbacks hear of phases and merges, and read task, phase and α from the trainer's state."""

import json

import pytest
from transformers import TrainerCallback, TrainerState

from hf_alphavil import MultitaskCallback
from support.resumed_run import NO_MORE_CHECKPOINTS, RUN
from support.toy_run import run_toy, toy_trainer

SETTINGS = RUN | {"max_phase_steps": 2, "alphavil_preset": "paper"}


class Heard(MultitaskCallback):
    """Notes the events with what they say."""

    def __init__(self):
        self.events, self.steps, self.merges = [], [], []

    def on_step_end(self, args, state, control, **kwargs):
        self.steps.append((state.global_step, state.task, state.phase, state.alpha))

    def on_phase_begin(self, args, state, control, *, phase, model, **kwargs):
        assert (state.phase, (state.task,)) == (phase.name, phase.step_tasks[0])
        self.events.append(("begin", phase.name, state.global_step))

    def on_phase_end(self, args, state, control, *, phase, losses, diverged, model, **kwargs):
        assert not diverged
        assert losses.keys() == {task for step in phase.step_tasks for task in step}
        self.events.append(("end", phase.name, state.global_step))

    def on_merge(self, args, state, control, *, alpha, task_weights, entry, model, **kwargs):
        assert (alpha, task_weights) == (entry["alpha"], entry["task_weights"]) == (state.alpha, entry["task_weights"])
        self.merges.append(entry)
        self.events.append(("merge", None, state.global_step))


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A whole run with a checkpoint at each step, and its folder."""
    folder, callback = tmp_path_factory.mktemp("heard"), Heard()
    return callback, run_toy(folder, callbacks=[callback], **SETTINGS), folder


def test_phases_and_merges_are_heard_in_order(heard):
    callback, run, _ = heard
    epoch = [(event, task) for task in "abc" for event in ("begin", "end")] + [("merge", None)]
    assert [(event, task) for event, task, _ in callback.events] == epoch * 2
    assert callback.merges == run["history"]
    assert [step for event, _, step in callback.events if event == "begin"] == [0, 2, 4, 6, 8, 10]


def test_the_state_says_task_phase_and_alpha(heard):
    callback, run, folder = heard
    assert [(task, phase) for _, task, phase, _ in callback.steps] == [(task, task) for task in "aabbcc"] * 2
    first, second = (entry["alpha"] for entry in run["history"])
    assert [alpha for *_, alpha in callback.steps] == [None] * 5 + [first] * 6 + [
        second
    ]  # merged before other callbacks
    written = json.loads((folder / "checkpoint-7" / "trainer_state.json").read_text())
    assert not {"task", "phase", "alpha"} & written.keys()
    assert TrainerState.load_from_json(folder / "checkpoint-7" / "trainer_state.json").global_step == 7


@pytest.mark.parametrize("step", [2, 5, 6])
def test_a_resumed_run_hears_the_rest(heard, step, tmp_path):
    callback, run, folder = heard
    resumed = Heard()
    again = run_toy(
        tmp_path, resume_from_checkpoint=str(folder / f"checkpoint-{step}"), callbacks=[resumed],
        **SETTINGS | NO_MORE_CHECKPOINTS,
    )  # fmt: skip
    # Events at the checkpoint's own step came before it was saved, but for the beginning of the next phase.
    rest = [event for event in callback.events if event[2] > step or (event[0] == "begin" and event[2] == step)]
    assert resumed.events == rest
    assert resumed.steps == callback.steps[step:]
    assert again["history"] == run["history"]


def test_epochs_without_forks_hear_no_merge(tmp_path):
    callback = Heard()
    toy_trainer(
        tmp_path, callbacks=[callback], max_phase_steps=1, num_train_epochs=2, final_target_epochs=1
    ).train()  # fmt: skip
    assert len(callback.merges) == 1


class AsksForASave(MultitaskCallback):
    def on_merge(self, args, state, control, **kwargs):
        control.should_save = True


def test_control_may_be_changed_in_place(tmp_path):
    settings = {"max_phase_steps": 1, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1000}
    toy_trainer(tmp_path, callbacks=[AsksForASave()], **settings).train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]


class ReadsState(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        self.task, self.phase = state.task, state.phase


def test_steps_of_several_tasks_have_no_single_task(tmp_path):
    callback = ReadsState()
    toy_trainer(tmp_path, callbacks=[callback], method="gradnorm", max_steps=1, num_train_epochs=1).train()
    assert callback.task is None
    assert callback.phase is not None
