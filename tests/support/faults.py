"""Faults of one rank: a loss that becomes NaN, and a signal in the middle of a step."""

import os
import signal
import time

from accelerate.utils import gather_object
from transformers import TrainerCallback

from hf_alphavil.run.callbacks import PlanCallback
from support.poisoned_run import Poison, trainer
from support.toy_run import run_toy, toy_trainer


class SignalAt(TrainerCallback):
    """Sends a rank's process a signal between a step's backward pass and its update."""

    def __init__(self, rank, step, number):
        self.rank, self.step, self.number = rank, step, number

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if args.process_index == self.rank and state.global_step + 1 == self.step:
            if self.number == signal.SIGKILL:
                print(f"rank {self.rank} dies", flush=True)
            os.kill(os.getpid(), self.number)


def interrupted_run(output_dir, rank, step, number, settings):
    """Trains the toy; the process of a rank gets the signal `number` in the given step, counted from 1."""
    toy_trainer(output_dir, callbacks=[SignalAt(rank, step, number)], **settings).train()


def interrupted_in_alpha(output_dir, rank=None, step=None, **settings):
    """Trains the toy; a rank gets SIGTERM after an α step. Returns the α steps; without a rank, the (resumed) run."""
    if rank is None:
        return run_toy(output_dir, resume_from_checkpoint="auto", **settings)
    show, shown = PlanCallback._show, []

    def show_and_terminate(self, text):
        if text.startswith("α"):
            shown.append(text)
            if len(shown) == step and int(os.environ["RANK"]) == rank:
                os.kill(os.getpid(), signal.SIGTERM)

    PlanCallback._show = show_and_terminate
    try:
        toy_trainer(output_dir, **settings).train()
    finally:
        PlanCallback._show = show
    return shown


class Sleep(TrainerCallback):
    """Makes a rank sleep at a step."""

    def __init__(self, rank, step):
        self.rank, self.step = rank, step

    def on_step_begin(self, args, state, control, **kwargs):
        if args.process_index == self.rank and state.global_step == self.step:
            time.sleep(120)


def hanging_run(output_dir, rank, step, **settings):
    """Trains the toy; a rank sleeps at a step."""
    toy_trainer(output_dir, callbacks=[Sleep(rank, step)], **settings).train()


def sharing_without_a_delta(output_dir, **settings):
    """Trains the toy. The leader of a phase loses its delta before the exchange. Returns every rank's error."""
    run = toy_trainer(output_dir, **settings)
    state = run.runner.state
    end_plan = run.runner.end_plan

    def forgetting(progress):
        state.deltas._ended.discard("b")
        return end_plan(progress)

    run.runner.end_plan = forgetting
    run._new_runner = lambda runner=run.runner: runner
    try:
        run.train()
    except RuntimeError as error:
        return gather_object([str(error)])
    return gather_object(["no error"])


def diverging_run(output_dir, **settings):
    """Trains the toy. Only rank 1's loss is NaN, in the step after 13. Returns what every rank has at the end."""
    run = trainer(output_dir, Poison([13], rank=1), **settings)
    run.train()
    return {
        "dropped": gather_object([[entry["dropped"] for entry in run.history]]),
        "checksums": gather_object([sum(p.double().sum().item() for p in run.model.parameters())]),
    }
