"""Corrupt checkpoints: an explicit resume raises an error that names the file; `auto` skips them."""

import json
import re
import resource
import signal
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil.checkpointing.folder import (
    checkpoints,
    find_checkpoint,
    find_corruption,
    write_manifest,
)
from hf_alphavil.checkpointing.staging import STAGING_NAME, clear_staging, move_into_place
from support.comparing import assert_same_run
from support.toy_run import run_toy, toy_trainer

RUN = {"noisy": True, "num_train_epochs": 2, "optim": "adamw_torch", "learning_rate": 0.01, "max_phase_steps": 2}
SAVING = RUN | {"save_strategy": "steps", "save_steps": 4}


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_toy(folder, **SAVING)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


CORRUPTIONS = {
    "truncated": (truncate, r"has \d+ bytes instead of \d+"),
    "bit flipped": (flip_a_bit, "has changed since it was written"),
    "missing": (Path.unlink, "is missing"),
}
FILES = ("model.safetensors", "multitask_state.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json")


def copy_of(folder, place):
    for checkpoint in checkpoints(folder):
        target = place / checkpoint.name
        target.mkdir(parents=True)
        for file in checkpoint.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    return place


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_error_names_a_corrupt_file_and_auto_skips_its_checkpoint(kind, file, complete_run, tmp_path, caplog):
    folder, run = complete_run
    place = copy_of(folder, tmp_path / "run")
    last, before, *_ = checkpoints(place)
    corrupt, message = CORRUPTIONS[kind]
    corrupt(last / file)
    with pytest.raises(ValueError, match=rf"{re.escape(str(last / file))} {message}.*pass 'auto'"):
        toy_trainer(place, **RUN).train(resume_from_checkpoint=str(last))
    with pytest.raises(ValueError, match=re.escape(file)):
        toy_trainer(place, **RUN).train(resume_from_checkpoint=True)
    assert_same_run(run, run_toy(place, resume_from_checkpoint="auto", **RUN))
    assert f"skipped the corrupt checkpoint {last}" in caplog.text
    assert find_corruption(before) is None


def test_auto_without_an_intact_checkpoint_starts_from_scratch(complete_run, tmp_path):
    _, run = complete_run
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
    assert_same_run(run, run_toy(tmp_path, resume_from_checkpoint="auto", **RUN))
    with pytest.raises(ValueError, match=r"manifest\.json is missing: the checkpoint is incomplete"):
        toy_trainer(tmp_path, **RUN).train(resume_from_checkpoint=True)


def test_resume_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=f"there is no checkpoint in {tmp_path}"):
        toy_trainer(tmp_path, **RUN).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match=r"there is no checkpoint .*checkpoint-7"):
        toy_trainer(tmp_path, **RUN).train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))


def test_auto_skips_a_checkpoint_without_state(complete_run, tmp_path, caplog):
    folder, run = complete_run
    place = copy_of(folder, tmp_path / "run")
    last = checkpoints(place)[0]
    (last / "multitask_state.json").unlink()
    write_manifest(last)
    assert_same_run(run, run_toy(place, resume_from_checkpoint="auto", **RUN))
    assert f"skipped the checkpoint {last}, which holds only the model" in caplog.text


def test_a_file_that_cannot_be_read_is_corrupt(complete_run, tmp_path, monkeypatch):
    folder, _ = complete_run
    last, before, *_ = checkpoints(copy_of(folder, tmp_path / "run"))
    opened = Path.open

    def bad_disk(path, *args, **kwargs):
        if path == last / "optimizer.pt":
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", bad_disk)
    assert "optimizer.pt cannot be read" in find_corruption(last)
    assert find_checkpoint("auto", tmp_path / "run") == str(before)


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    staging = tmp_path / STAGING_NAME
    (staging / "checkpoint-4").mkdir(parents=True)
    (staging / "replaced-checkpoint-4").mkdir()
    (staging / "replaced-checkpoint-4" / "file").write_text("old")
    with pytest.raises(ValueError, match="corrupt"):  # the toy checkpoint has no manifest
        find_checkpoint(True, tmp_path)
    assert (tmp_path / "checkpoint-4" / "file").read_text() == "old"


def test_a_failed_move_restores_the_replaced_checkpoint(tmp_path):
    (tmp_path / STAGING_NAME).mkdir()
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "file").write_text("old")
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / STAGING_NAME / "checkpoint-4", tmp_path / "checkpoint-4")
    clear_staging(tmp_path)
    assert (tmp_path / "checkpoint-4" / "file").read_text() == "old"
    assert not (tmp_path / STAGING_NAME).exists()


def test_an_unreadable_manifest_is_corrupt(tmp_path):
    (tmp_path / "file").write_text("content")
    write_manifest(tmp_path)
    assert find_corruption(tmp_path) is None
    (tmp_path / "later").write_text("a callback's")
    assert find_corruption(tmp_path) is None
    for text in ("", "{}", "[]", '{"files": 3}', '{"files": {"file": {"bytes": "many"}}}'):
        (tmp_path / "manifest.json").write_text(text)
        assert find_corruption(tmp_path) == f"{tmp_path / 'manifest.json'} cannot be read"


def test_a_checkpoint_replaces_one_of_an_earlier_run(tmp_path):
    for content in ("old", "new"):
        staged = tmp_path / STAGING_NAME / "checkpoint-1"
        staged.mkdir(parents=True)
        (staged / "file").write_text(content)
        move_into_place(staged, tmp_path / "checkpoint-1")
    assert (tmp_path / "checkpoint-1" / "file").read_text() == "new"
    assert list((tmp_path / STAGING_NAME).iterdir()) == []


def test_every_checkpoint_has_a_manifest_and_the_limit_holds(tmp_path):
    run_toy(tmp_path, **SAVING, save_total_limit=2)
    found = checkpoints(tmp_path)
    assert [find_corruption(folder) for folder in found] == [None, None]
    assert not (tmp_path / STAGING_NAME).exists()
    files = json.loads((found[0] / "manifest.json").read_text())["files"]
    assert set(files) == {file.name for file in found[0].iterdir()} - {"manifest.json"}


def test_a_full_disk_leaves_earlier_checkpoints_intact(tmp_path, caplog):
    """From the second checkpoint on, no file may grow beyond a limit, as on a full disk."""

    class FullDisk(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails instead of killing the process
    try:
        with pytest.raises(Exception, match=r"(?i)too large|write|inline_container"):
            toy_trainer(tmp_path, callbacks=[FullDisk()], **SAVING).train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [folder.name for folder in checkpoints(tmp_path)] == ["checkpoint-4"]
    assert find_corruption(tmp_path / "checkpoint-4") is None
    assert not (tmp_path / STAGING_NAME).exists()
    assert "checkpoint-8 could not be written" in caplog.text
    assert f"the latest intact checkpoint is {tmp_path / 'checkpoint-4'}" in caplog.text
    whole = run_toy(tmp_path / "whole", **RUN)
    assert torch.equal(
        whole["state"]["encoder.0.weight"],
        run_toy(tmp_path, resume_from_checkpoint="auto", **RUN)["state"]["encoder.0.weight"],
    )
