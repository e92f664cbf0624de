"""Checkpoints of a run share the files that hold the same, and are complete folders of their own all the same."""

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import TrainerCallback

from hf_alphavil.checkpointing.folder import checkpoints, find_corruption
from hf_alphavil.checkpointing.run_state import load_run_tensors
from support.comparing import assert_same_run
from support.poisoned_run import Poison
from support.poisoned_run import trainer as poisoned_trainer
from support.resumed_run import NO_MORE_CHECKPOINTS, RUN
from support.toy_run import RecordingTrainer, run_toy, toy_trainer

PHASES = ("a", "b", "c")
SHORT = RUN | {"max_phase_steps": 2}


class Act(TrainerCallback):
    """Calls a function with the folder of every new checkpoint."""

    def __init__(self, action):
        self.action = action

    def on_save(self, args, state, control, **kwargs):
        self.action(checkpoints(args.output_dir)[0])


def no_links(source, target):
    raise OSError("this file system has no hard links")


def checksums(folder):
    """Of all tensors, by checkpoint and file."""
    manifests = {path.name: json.loads((path / "manifest.json").read_text())["files"] for path in checkpoints(folder)}
    return {
        step: {name: entry for name, entry in files.items() if name.endswith(".safetensors")}
        for step, files in manifests.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run_toy(folder, **SHORT)
    return sorted(checkpoints(folder), key=lambda path: int(path.name.split("-")[1]))


def test_what_has_not_changed_is_shared(run):
    """Each epoch has the phases a, b and c, of two steps each."""
    assert len(run) == 12
    for number, (one, other) in enumerate(pairwise(run), start=2):
        shared = {
            file.name for file in other.iterdir() if (one / file.name).exists() and file.samefile(one / file.name)
        }
        epoch, step = divmod(number - 1, 6)
        if step == 5:  # the epoch is merged, and its states are stored
            expected = {"optimizer-a", "optimizer-b"}
        else:
            ended = PHASES[: (step + 1) // 2]
            before = PHASES[: step // 2]
            stored = before if epoch == 0 else tuple(phase for phase in PHASES if phase not in ended) + before
            expected = {f"delta-{phase}" for phase in before} | {f"optimizer-{phase}" for phase in stored}
            expected |= {"model"} if step > 0 else set()
        found = {name for name in shared if name.endswith(".safetensors")}
        assert found == {f"{'' if part == 'model' else 'multitask_state.'}{part}.safetensors" for part in expected}, (
            number
        )
    assert all(find_corruption(checkpoint) is None for checkpoint in run)


def test_a_checkpoint_between_phases_holds_no_running_phase(run):
    for number, checkpoint in enumerate(run, start=1):
        tensors = load_run_tensors(checkpoint)
        assert any(name.startswith("theta/") for name in tensors) is (number % 2 == 1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"joint_fraction": 0.3, "max_phase_steps": 3},
        {"optimizer_state_dtype": "bfloat16", "delta_dtype": "bfloat16"},
        {"phase_optimizer_state": "reset"},
        {"method": "forkmerge", "num_train_epochs": 3},
        {"method": "stilts", "num_train_epochs": 3},
    ],
    ids=str,
)
def test_shared_files_hold_what_new_ones_would(settings, tmp_path, monkeypatch):
    settings = SHORT | {"gradient_accumulation_steps": 1} | settings
    run_toy(tmp_path / "linked", **settings)
    monkeypatch.setattr(os, "link", no_links)
    run_toy(tmp_path / "copied", **settings)
    assert checksums(tmp_path / "linked") == checksums(tmp_path / "copied")


def test_a_dropped_phase_keeps_its_old_state(tmp_path, monkeypatch):
    for name in ("linked", "copied"):
        poisoned_trainer(tmp_path / name, Poison([13]), save_strategy="steps", save_steps=1).train()
        monkeypatch.setattr(os, "link", no_links)
    assert checksums(tmp_path / "linked") == checksums(tmp_path / "copied")


def test_a_checkpoint_after_one_that_is_gone_is_complete(tmp_path):
    whole = run_toy(tmp_path / "whole", **SHORT)
    place = tmp_path / "run"
    trainer = toy_trainer(
        place, **SHORT, callbacks=[Act(lambda folder: [shutil.rmtree(p) for p in checkpoints(place)[1:]])]
    )
    trainer.train()
    (last,) = checkpoints(place)
    assert find_corruption(last) is None
    interrupted = toy_trainer(
        tmp_path / "other", **SHORT, callbacks=[Act(lambda folder: keep_only(folder, "checkpoint-9"))]
    )
    interrupted.train()
    (kept,) = checkpoints(tmp_path / "other")
    assert_same_run(whole, run_toy(tmp_path / "resumed", str(kept), **SHORT | NO_MORE_CHECKPOINTS))


def keep_only(folder, name):
    if folder.name != name:
        shutil.rmtree(folder)


def test_damage_to_a_shared_file_is_not_blessed(tmp_path):
    """Checkpoint 8 shares the model of checkpoint 7, which has changed on the disk."""

    def damage(folder):
        if folder.name == "checkpoint-7":
            content = bytearray((folder / "model.safetensors").read_bytes())
            content[-1] ^= 1
            (folder / "model.safetensors").write_bytes(content)

    toy_trainer(tmp_path, **SHORT, callbacks=[Act(damage)]).train()
    damaged = {path.name for path in checkpoints(tmp_path) if find_corruption(path)}
    assert damaged == {f"checkpoint-{step}" for step in range(7, 12)}
    assert load_file(tmp_path / "checkpoint-12" / "model.safetensors")


def test_the_model_is_what_save_model_writes_and_nothing_else(tmp_path):
    """Other processes write their random states into the same folder, before or after the model is saved."""

    class AnotherProcess(RecordingTrainer):
        def _save(self, output_dir=None, state_dict=None):
            super()._save(output_dir, state_dict)
            checkpoint = Path(self.args.output_dir).glob("*/checkpoint-*")
            for folder in checkpoint if self._is_staging else ():
                (folder / "rng_state_1.pth").write_text(str(self.state.global_step))
            adapters = Path(output_dir) / "adapters"  # as PEFT writes adapters that have a name
            adapters.mkdir()
            (adapters / "weights.safetensors").write_text("weights")

        def _save_rng_state(self, output_dir):
            super()._save_rng_state(output_dir)
            (Path(output_dir) / "rng_state_1.pth").write_text(f"random state at step {self.state.global_step}")

    toy_trainer(tmp_path, trainer_class=AnotherProcess, **SHORT).train()
    written = checkpoints(tmp_path)
    assert len(written) == 12
    for folder in written:
        step = folder.name.split("-")[1]
        assert (folder / "rng_state_1.pth").read_text() == f"random state at step {step}"
        assert (folder / "adapters" / "weights.safetensors").read_text() == "weights"
        assert find_corruption(folder) is None
    assert written[2].joinpath("adapters/weights.safetensors").samefile(written[3] / "adapters/weights.safetensors")
