"""Runs of the toy in which rank 1 goes its own way in the middle: it fails, is late, or acts alone."""

import os
import signal
import time

import torch
from transformers import TrainerCallback

import run_glue_avil
from hf_alphavil import MultitaskTrainer
from hf_alphavil.checkpointing import mixin
from hf_alphavil.settings import user_errors
from support.driving import call_main
from support.toy_run import LABELS, TARGET, ToyModel, accuracy, toy_args, toy_data

TIMEOUT = 3


class At(TrainerCallback):
    """Does something on rank 1 at an event, after a number of steps."""

    def __init__(self, event, step, action):
        self.step, self.action = step, action
        setattr(self, event, self.act)

    def act(self, args, state, control, **kwargs):
        if args.process_index == 1 and state.global_step == self.step:
            self.action(control)


def fail(error):
    def action(control):
        raise error

    return action


def switch_on(flag):
    return lambda control: setattr(control, flag, True)


def interrupt(control):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores the signal
    os.kill(os.getpid(), signal.SIGINT)


def sleep(control):
    time.sleep(TIMEOUT + 2)


def failing_on_rank_1(prediction):
    if os.environ["RANK"] == "1":
        raise ValueError("no such class")
    return accuracy(prediction)


def full_disk(*args):
    raise OSError(28, "No space left on device")


EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch"}
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")
#: Rank 1 ends, by an error of its own.
FAILURES = {
    "step": {"at": ("on_step_begin", 4, fail(OUT_OF_MEMORY))},
    "evaluation": {"settings": EPOCHS, "metrics": failing_on_rank_1},
    "checkpoint": {"settings": EPOCHS | {"phase_parallel": "on"}, "saves": full_disk},
    "Ctrl-C": {"at": ("on_step_begin", 4, interrupt)},
    "setup": {"arguments": {"target_task": "d"}},
    "script": {"trains": False},
}
#: Rank 1 goes on.
STRAYS = {
    "late": {"at": ("on_step_begin", 4, sleep)},
    "stops": {"at": ("on_step_end", 4, switch_on("should_training_stop"))},
    "stops after an epoch": {"at": ("on_epoch_end", 9, switch_on("should_training_stop"))},
    "saves": {"at": ("on_step_end", 4, switch_on("should_save"))},
    "evaluates": {"at": ("on_step_end", 4, switch_on("should_evaluate"))},
    "logs": {"at": ("on_step_end", 4, switch_on("should_log"))},
    "has no memory": {"settings": {"auto_find_batch_size": True}, "at": ("on_step_begin", 0, fail(OUT_OF_MEMORY))},
}


def lost_rank(output_dir, case):
    """Trains and evaluates the toy. Every rank writes its error, the error's cause, and its seconds to a file."""
    change, rank = (FAILURES | STRAYS)[case], os.environ["RANK"]
    begin, errors = time.monotonic(), ("no error", None)
    try:
        arguments = change.get("arguments", {}) if rank == "1" else {}
        if "saves" in change and rank == "1":
            mixin.save_run_state = change["saves"]
        args = toy_args(output_dir, num_train_epochs=2, ddp_timeout=TIMEOUT, **change.get("settings", {}), **arguments)
        train, meta = toy_data()
        trainer = MultitaskTrainer(
            model=ToyModel(LABELS),
            args=args,
            train_dataset=train,
            eval_dataset={TARGET: meta},
            compute_metrics=change.get("metrics", accuracy),
            callbacks=[At(*change["at"])] if "at" in change else None,
        )
        if rank == "0" or change.get("trains", True):
            trainer.train()
            trainer.evaluate()
    except BaseException as error:
        errors = (f"{type(error).__name__}: {error}", error.__cause__ and str(error.__cause__))
    torch.save((*errors, time.monotonic() - begin), f"{output_dir}-{rank}")


def drive_each_rank(words_by_rank, seconds):
    """Runs the command line on the ranks that have words, where others wait for `seconds` with an error."""
    user_errors.SECONDS_FOR_MAIN_PROCESS = seconds
    words = words_by_rank[int(os.environ["RANK"])]
    if words is None:
        toy_args("unused")  # connects the processes
        time.sleep(60)
    call_main(run_glue_avil.main, "run_glue_avil.py", words)
