"""Faults of one rank: a loss that becomes NaN, and a signal in the middle of a step."""

import os
import signal

from accelerate.utils import gather_object
from transformers import TrainerCallback

from support.poisoned_run import Poison, trainer
from support.toy_run import toy_trainer


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


def diverging_run(output_dir, **settings):
    """Trains the toy. Only rank 1's loss is NaN, in the step after 13. Returns what every rank has at the end."""
    run = trainer(output_dir, Poison([13], rank=1), **settings)
    run.train()
    return {
        "dropped": gather_object([[entry["dropped"] for entry in run.history]]),
        "checksums": gather_object([sum(p.double().sum().item() for p in run.model.parameters())]),
    }
