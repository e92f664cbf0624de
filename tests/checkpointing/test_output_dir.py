"""The output folder of a run: one run at a time, obstacles that are told before training, rotation, moves."""

import json
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from hf_alphavil.checkpointing import staging
from hf_alphavil.checkpointing.folder import FORMAT, checkpoints, find_checkpoint, find_corruption, write_manifest
from hf_alphavil.checkpointing.run_lock import LOCK_NAME, run_lock
from hf_alphavil.checkpointing.staging import STAGING_NAME, move_into_place
from support.comparing import assert_same_run
from support.toy_run import run_toy, toy_trainer

RUN = {"noisy": True, "num_train_epochs": 2, "optim": "adamw_torch", "learning_rate": 0.01, "max_phase_steps": 2}
SAVING = RUN | {"save_strategy": "steps", "save_steps": 3}  # 4 checkpoints of 12 steps


def names(folder):
    return [path.name for path in reversed(checkpoints(folder))]


class During(TrainerCallback):
    """Calls a function after the first step."""

    def __init__(self, function):
        self.function = function

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.function()


# ---- One run at a time


def hold(folder, ready, worker_pid):
    """Holds a folder until it is killed, with a child such as a worker of a data loader."""
    with run_lock(folder):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        worker_pid.value = pid
        ready.set()
        time.sleep(60)


def test_a_second_run_is_refused_and_a_lock_ends_with_its_process(tmp_path):
    """Also while a worker outlives the process: a run that starts again at once is not refused."""
    context = get_context("fork")
    ready, worker_pid = context.Event(), context.Value("i", 0)
    process = context.Process(target=hold, args=(tmp_path, ready, worker_pid))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(
            ValueError, match=rf"another run is writing to {tmp_path}: process {process.pid} on .*since"
        ):
            toy_trainer(tmp_path, **SAVING).train()
        assert checkpoints(tmp_path) == []
        process.kill()
        process.join()
        assert (tmp_path / LOCK_NAME).exists()
        run_toy(tmp_path, **SAVING)
        assert not (tmp_path / LOCK_NAME).exists()
    finally:
        process.kill()
        with suppress(ProcessLookupError):
            os.kill(worker_pid.value, signal.SIGKILL)


def test_a_second_run_of_the_same_process_is_refused(tmp_path):
    def start_another():
        (tmp_path / "link").symlink_to(tmp_path)  # the folder by another name
        with pytest.raises(ValueError, match=r"another run is writing to .*this one.*pass another `output_dir`"):
            toy_trainer(tmp_path / "link", **SAVING).train(resume_from_checkpoint="auto")

    run_toy(tmp_path, callbacks=[During(start_another)], **SAVING)
    assert len(checkpoints(tmp_path)) == 4
    assert all(find_corruption(folder) is None for folder in checkpoints(tmp_path))


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    """Then each run still writes to its own staging folder."""

    def no_locks(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("hf_alphavil.checkpointing.run_lock.fcntl.lockf", no_locks)
    theirs = tmp_path / STAGING_NAME / "other-run" / "checkpoint-3"
    theirs.mkdir(parents=True)
    run_toy(tmp_path, **SAVING)
    assert "cannot be locked" in caplog.text
    assert theirs.is_dir()
    assert len(checkpoints(tmp_path)) == 4


def test_a_run_clears_what_killed_runs_left(tmp_path):
    (tmp_path / STAGING_NAME / "killed-run" / "checkpoint-3").mkdir(parents=True)
    run_toy(tmp_path, **SAVING)
    assert not (tmp_path / STAGING_NAME).exists()


# ---- Obstacles


@pytest.mark.parametrize("name", [STAGING_NAME, "checkpoint-3"])
@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a folder"])
def test_what_is_in_the_way_of_checkpoints_is_told_before_training(kind, name, tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir(), elsewhere.mkdir()
    if kind == "file":
        (folder / name).write_text("notes")
    else:
        (folder / name).symlink_to(elsewhere if kind == "link to a folder" else tmp_path / "gone")
    trainer = toy_trainer(folder, **SAVING)
    with pytest.raises(ValueError, match=rf"{name} is (a link|not a folder), but checkpoints need this name.*move it"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert os.path.lexists(folder / name)
    run_toy(folder, **RUN)  # writes no checkpoints


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path, monkeypatch):
    def read_only(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    trainer = toy_trainer(tmp_path, **SAVING)
    monkeypatch.setattr(staging.Path, "rmdir", read_only)
    with pytest.raises(ValueError, match=r"checkpoints cannot be written .*pass another `output_dir`"):
        trainer.train()
    assert trainer.state.global_step == 0


# ---- Rotation and the disk


class ClockRunsBack(TrainerCallback):
    """Gives every checkpoint an earlier time than the one before it."""

    def on_save(self, args, state, control, **kwargs):
        now = time.time() - 10_000 * state.global_step
        os.utime(Path(args.output_dir) / f"checkpoint-{state.global_step}", (now, now))


@pytest.mark.parametrize(("limit", "kept"), [(1, [12]), (2, [9, 12]), (3, [6, 9, 12])])
def test_rotation_goes_by_step(limit, kept, tmp_path):
    run_toy(tmp_path, callbacks=[ClockRunsBack()], save_total_limit=limit, **SAVING)
    assert names(tmp_path) == [f"checkpoint-{step}" for step in kept]


def test_the_checkpoint_just_written_is_never_deleted(tmp_path):
    """Beside a later one of an earlier run in the same folder."""
    (tmp_path / "checkpoint-1000").mkdir(parents=True)
    trainer = toy_trainer(tmp_path, save_total_limit=2, **SAVING)
    seen = []
    trainer.add_callback(type("Saved", (TrainerCallback,), {"on_save": lambda *_, **__: seen.append(names(tmp_path))}))
    trainer.train()
    assert [f"checkpoint-{step}" in found for step, found in zip((3, 6, 9, 12), seen, strict=True)] == [True] * 4
    assert names(tmp_path) == ["checkpoint-12", "checkpoint-1000"]


def test_checkpoints_of_transformers_trainer_are_named_and_left_alone(tmp_path, caplog):
    for step in (1, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    run_toy(tmp_path, save_total_limit=1, **SAVING)
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-12", "checkpoint-1000"]
    assert "holds checkpoints of transformers' Trainer (checkpoint-1, checkpoint-1000)" in caplog.text
    is_theirs = "checkpoint-1000.* a checkpoint of transformers' Trainer, not of MultitaskTrainer"
    with pytest.raises(ValueError, match=f"{is_theirs}.*'auto'"):
        find_checkpoint(True, tmp_path)
    assert find_checkpoint("auto", tmp_path) == str(tmp_path / "checkpoint-12")
    assert re.search(f"skipped .*{is_theirs}", caplog.text)


def test_a_checkpoint_is_on_the_disk_before_it_is_moved_into_place(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor):
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted_rename(path, target):
        events.append(("rename", str(path)))
        return rename(path, target)

    folder = tmp_path / STAGING_NAME / "run" / "checkpoint-1"
    (folder / "shards").mkdir(parents=True)
    files = [folder / "model.safetensors", folder / "shards" / "one"]
    for file in files:
        file.write_text("content")
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    move_into_place(folder, tmp_path / "checkpoint-1")
    moved = events.index(("rename", str(folder)))
    assert {str(path) for path in (*files, folder / "shards", folder)} <= {path for _, path in events[:moved]}
    assert events[moved + 1 :] == [("fsync", str(tmp_path))]


# ---- Format


@pytest.mark.parametrize("only_model", [False, True])
def test_every_checkpoint_has_a_format_version(only_model, tmp_path):
    run_toy(tmp_path, save_only_model=only_model, **SAVING)
    for folder in checkpoints(tmp_path):
        assert json.loads((folder / "manifest.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, r"an older version of hf_alphavil wrote .*checkpoint-12 \(without a format version; .*format \d+\)"),
        (0, r"an older version .*format 0; this version reads format"),
        (FORMAT + 1, rf"a newer version .*format {FORMAT + 1}; .*update hf_alphavil"),
    ],
)
def test_a_checkpoint_of_another_format_is_named(found, message, tmp_path):
    """Also by `auto`: it would start from scratch and replace the checkpoints."""
    run_toy(tmp_path, **SAVING)
    file = tmp_path / "checkpoint-12" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["format"] = found
    if found is None:
        del manifest["format"]
    file.write_text(json.dumps(manifest))
    for wanted in (True, "auto", str(file.parent)):
        with pytest.raises(ValueError, match=message):
            toy_trainer(tmp_path, **SAVING).train(resume_from_checkpoint=wanted)


# ---- Moved folders

# The first evaluation is the best one.
BEST = {
    "noisy": True,
    "optim": "adamw_torch",
    "learning_rate": 3.0,
    "num_train_epochs": 4,
    "max_phase_steps": 1,
    "save_strategy": "epoch",
    "eval_strategy": "epoch",
    "save_total_limit": 2,
    "load_best_model_at_end": True,
}


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    """A folder as a run left it that was killed after its second epoch, and the run to the end."""
    place = tmp_path_factory.mktemp("best")
    whole = run_toy(place / "whole", **BEST | {"save_total_limit": None})
    assert whole["counted"]["best_global_step"] == 3
    for folder in checkpoints(place / "whole"):
        if folder.name not in ("checkpoint-3", "checkpoint-6"):
            shutil.rmtree(folder)
    return place / "whole", whole


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_moved_or_copied_folder_keeps_the_best_model(is_moved, stopped_run, tmp_path):
    folder, whole = stopped_run
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(folder, here)
    # As if the run had written `here`.
    for checkpoint in checkpoints(here):
        file = checkpoint / "trainer_state.json"
        file.write_text(file.read_text().replace(str(folder), str(here)))
        write_manifest(checkpoint)
    (here.rename if is_moved else lambda place: shutil.copytree(here, place))(there)
    resumed = run_toy(there, resume_from_checkpoint="auto", **BEST)
    assert_same_run(whole, resumed)
    assert names(there) == ["checkpoint-3", "checkpoint-12"]
    best = load_file(there / "checkpoint-3" / "model.safetensors")
    assert all(torch.equal(tensor, resumed["state"][name]) for name, tensor in best.items())
    # With no step left, no checkpoint is written that would find the best one again.
    shutil.copytree(there, tmp_path / "again")
    shutil.rmtree(there)
    assert_same_run(whole, run_toy(tmp_path / "again", resume_from_checkpoint="auto", **BEST))
    if not is_moved:  # the best model is the copy, not the checkpoint of the folder that was copied
        assert names(here) == ["checkpoint-3", "checkpoint-6"]


def test_a_best_model_that_is_gone_is_told_before_training(stopped_run, tmp_path):
    folder, _ = stopped_run
    shutil.copytree(folder / "checkpoint-6", tmp_path / "alone" / "checkpoint-6")
    file = tmp_path / "alone" / "checkpoint-6" / "trainer_state.json"
    file.write_text(file.read_text().replace(str(folder), str(tmp_path / "gone")))
    write_manifest(file.parent)
    with pytest.raises(ValueError, match=r"the best model so far is that of step 3 .*put it back beside"):
        toy_trainer(tmp_path / "alone", **BEST).train(resume_from_checkpoint="auto")
    run_toy(tmp_path / "alone", resume_from_checkpoint="auto", **BEST | {"load_best_model_at_end": False})


def test_the_best_model_is_not_a_checkpoint_that_another_run_left(stopped_run, tmp_path):
    """Resumed into a folder that holds another run's checkpoint of the best step."""
    folder, whole = stopped_run
    run_toy(tmp_path, **BEST | {"num_train_epochs": 1, "seed": 7})
    assert names(tmp_path) == ["checkpoint-3"]
    resumed = run_toy(tmp_path, resume_from_checkpoint=str(folder / "checkpoint-6"), **BEST)
    assert_same_run(whole, resumed)


def test_other_numbers_of_steps_act_on_resume(tmp_path):
    run_toy(tmp_path, **SAVING)
    run_toy(tmp_path / "other", resume_from_checkpoint=str(tmp_path / "checkpoint-6"), **SAVING | {"save_steps": 5})
    assert names(tmp_path / "other") == ["checkpoint-10", "checkpoint-12"]
