"""SIGTERM: the current step is finished and a checkpoint is saved. The resumed run equals the uninterrupted one."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.run.callbacks import PlanCallback
from support.comparing import assert_same_run
from support.faults import SignalAt, interrupted_in_alpha, interrupted_run
from support.forking import ROOT, fork, fork_runs
from support.launching import launch
from support.toy_run import run_toy, toy_trainer

RUN = {
    "noisy": True,
    "num_train_epochs": 2,
    "optim": "adamw_torch",
    "learning_rate": 0.01,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "max_phase_steps": 2,
    "eval_strategy": "epoch",
    "enable_jit_checkpoint": True,
}
STEPS_PER_EPOCH = 6


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, (1, 4, 6, 11)),  # inside phases, between two, and at an epoch's end
        ({"joint_fraction": 0.3}, (1, 5, 10)),
        ({"method": "multitask"}, (1, 5, 10)),
        pytest.param({}, range(1, 12), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_stopped_run_resumes(settings, steps, tmp_path):
    settings = RUN | settings
    whole = run_toy(tmp_path / "whole", **settings)
    handler = signal.getsignal(signal.SIGTERM)
    for step in steps:
        folder = tmp_path / str(step)
        trainer = toy_trainer(folder, callbacks=[SignalAt(0, step, signal.SIGTERM)], **settings)
        trainer.train()
        assert trainer.preempted
        assert [path.name for path in checkpoints(folder)] == [f"checkpoint-{step}"]
        assert signal.getsignal(signal.SIGTERM) == handler
        assert_same_run(whole, run_toy(folder, resume_from_checkpoint="auto", **settings))


LONG = ("lbfgs", "adam", "gradient_free", "secant", "joint", "pruned")
INTERRUPTED = {
    "sgd": {},
    "lbfgs": {"alpha_optimizer": "lbfgs"},
    "saved": {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1},
    "best": {"save_strategy": "best", "metric_for_best_model": "loss", "load_best_model_at_end": True},
    "inside an epoch": {"target_phase": "last"},
    "adam": {"alpha_optimizer": "adam"},
    "gradient_free": {"alpha_optimizer": "gradient_free"},
    "secant": {"alpha_optimizer": "secant"},
    "joint": {"joint_fraction": 0.3},
    "pruned": {"prune_below": 0.9, "prune_patience": 1, "alpha_learning_rate": 0.5},
}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(settings, marks=pytest.mark.slow if name in LONG else (), id=name)
        for name, settings in INTERRUPTED.items()
    ],
)
def test_an_alpha_step_stops_between_two_of_its_steps(settings, tmp_path, monkeypatch):
    settings = RUN | {"num_train_epochs": 3} | settings
    whole = run_toy(tmp_path / "whole", **settings)
    show, shown = PlanCallback._show, []

    def show_and_terminate(self, text):
        show(self, text)
        shown.append(text.removesuffix("/5"))  # the number of steps, where it is known
        if shown[-1] == "α 1" and shown.count("α 1") == self.deadly:
            os.kill(os.getpid(), signal.SIGTERM)

    for epoch in (1, 3):
        shown.clear()
        with monkeypatch.context() as patch:
            patch.setattr(PlanCallback, "_show", show_and_terminate)
            patch.setattr(PlanCallback, "deadly", epoch, raising=False)
            trainer = toy_trainer(tmp_path / str(epoch), **settings)
            trainer.train()
        assert trainer.preempted
        assert shown[-1] == "α 1"
        assert len(trainer.history) == epoch - 1
        step = trainer.state.global_step
        assert checkpoints(tmp_path / str(epoch))[0].name == f"checkpoint-{step}"
        assert_same_run(whole, run_toy(tmp_path / str(epoch), resume_from_checkpoint="auto", **settings))


@pytest.mark.slow
@pytest.mark.distributed
def test_sigterm_to_one_of_two_processes_in_an_alpha_step(tmp_path):
    runs = []
    for name, more in {"together": {}, "parallel": {"phase_parallel": "on"}}.items():
        whole = {"output_dir": tmp_path / name / "whole", **RUN, **more}
        stopped = {"output_dir": tmp_path / name / "stopped", **RUN, **more}
        runs += [whole, stopped | {"rank": 1, "step": 2}, stopped]
    results = fork_runs(interrupted_in_alpha, runs, "ddp", 2)
    for whole, stopped, resumed in (results[:3], results[3:]):
        assert stopped == ["α 1/5", "α 2/5"]
        assert_same_run(whole, resumed)


def test_without_the_flag_the_handler_stays(tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            seen.append(signal.getsignal(signal.SIGTERM))

    toy_trainer(tmp_path, callbacks=[Look()], **RUN | {"enable_jit_checkpoint": False}).train()
    assert set(seen) == {signal.getsignal(signal.SIGTERM)}


BEST = {"metric_for_best_model": "loss"}
KEEPING = {
    "only the best": {"save_strategy": "epoch", "save_total_limit": 1},
    "best loaded": {"save_strategy": "epoch", "save_total_limit": 1, "load_best_model_at_end": True},
    "best saved": {"save_strategy": "best", "method": "multitask", "eval_strategy": "steps", "eval_steps": 1} | BEST,
    "the same step": {"save_strategy": "steps", "save_steps": 4},
    "best saved, at an epoch's end": {"save_strategy": "best"} | BEST,
}


@pytest.mark.parametrize("settings", KEEPING.values(), ids=KEEPING)
def test_the_checkpoint_is_kept_whatever_the_limit_and_strategy(settings, tmp_path):
    """Neither `save_total_limit` nor a strategy that reads scores deletes it, and it is written once."""
    settings = RUN | {"num_train_epochs": 3, "learning_rate": 1.0} | settings
    whole = run_toy(tmp_path / "whole", **settings)
    for step in (8, 12):
        folder, saved = tmp_path / str(step), []

        class Saved(TrainerCallback):
            def on_save(self, args, state, control, saved=saved, **kwargs):
                saved.append(state.global_step)

        trainer = toy_trainer(folder, callbacks=[SignalAt(0, step, signal.SIGTERM), Saved()], **settings)
        trainer.train()
        assert trainer.preempted
        assert checkpoints(folder)[0].name == f"checkpoint-{step}"
        assert saved.count(step) == 1
        assert_same_run(whole, run_toy(folder, resume_from_checkpoint="auto", **settings))


def test_workers_ignore_sigterm(tmp_path):
    """A scheduler signals all processes of a job."""
    others = psutil.Process().children()  # the server of `support.forking` is no part of the job

    class TerminateAll(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 3:
                children = [child for child in psutil.Process().children() if child not in others]
                assert len(children) >= 2
                subprocess.run(
                    ["kill", "-TERM", *(str(child.pid) for child in children), str(os.getpid())], check=True
                )
                time.sleep(1)

    settings = RUN | {"dataloader_num_workers": 2}
    trainer = toy_trainer(tmp_path / "run", callbacks=[TerminateAll()], **settings)
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-4"]
    whole = run_toy(tmp_path / "whole", **settings)
    assert_same_run(whole, run_toy(tmp_path / "run", resume_from_checkpoint="auto", **settings))


def test_an_error_in_training_restores_the_handler(tmp_path):
    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise KeyError("a user's error")

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError):
        toy_trainer(tmp_path, callbacks=[Fail()], **RUN).train()
    assert signal.getsignal(signal.SIGTERM) == handler


TWO_PROCESSES = RUN | {"per_device_train_batch_size": 2}
SAVING = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}


@pytest.mark.distributed
def test_sigterm_to_one_of_two_processes(tmp_path):
    """Both ranks stop at the same step, and resume. SIGKILL ends one rank and with it the run, which resumes too."""
    settings = TWO_PROCESSES | SAVING
    folders = {"signalled": tmp_path / "signalled", "dying": tmp_path / "dying"}
    signalled, dying = (
        fork(interrupted_run, folders[name], 1, step, number, settings, config="ddp", num_processes=2)
        for name, step, number in (("signalled", 3, signal.SIGTERM), ("dying", 5, signal.SIGKILL))
    )
    assert signalled.returncode == 0, signalled.stderr
    assert dying.stdout.count("rank 1 dies") == 1
    assert [path.name for path in checkpoints(folders["signalled"])] == ["checkpoint-3"]
    assert [path.name for path in checkpoints(folders["dying"])] == ["checkpoint-4"]
    runs = [{"output_dir": folder, "resume_from_checkpoint": "auto", **settings} for folder in folders.values()]
    whole, *resumed = fork_runs(run_toy, [{"output_dir": tmp_path / "whole", **settings}, *runs], "ddp", 2)
    for run in resumed:
        assert_same_run(whole, run)


@pytest.mark.slow
@pytest.mark.distributed
def test_the_launcher_restarts_both_processes(tmp_path):
    """The same under `accelerate launch`: after SIGKILL ended one rank, the launcher restarts both."""
    (tmp_path / "settings.json").write_text(json.dumps(TWO_PROCESSES | SAVING), encoding="utf-8")
    output = launch(
        ROOT / "tests" / "support" / "launched_faults.py", tmp_path / "settings.json", tmp_path,
        options=["--max_restarts", "1", "--rdzv_backend", "c10d"],
        # Without it the restarted ranks look for each other at the addresses of those that died (torch 2.13).
        variables={"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )  # fmt: skip
    assert output.count("rank 1 dies") == 1
    results = torch.load(tmp_path / "results.pt", weights_only=False)
    assert results["stopped_at"] == ["checkpoint-3"]
    for name in ("after_sigterm", "after_death"):
        assert_same_run(results["whole"], results[name])
    assert results["died_after"] == ["checkpoint-4"]
