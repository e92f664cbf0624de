"""The command line, as a user runs it."""

import json
import multiprocessing
import runpy
import signal
import subprocess
import sys

from transformers.trainer import DEFAULT_CALLBACKS

import run_glue_avil
from support.faults import SignalAt
from support.forking import ROOT, fork

SMALL = ["--max_train_samples", "96", "--max_eval_samples", "32", "--max_seq_length", "32", "--disable_tqdm", "true"]
SMALL += ["--max_predict_samples", "16"]


def drive(*arguments, config=None, num_processes=1):
    """Runs the command line in new processes that have everything imported, on the CPU; see `support.forking`."""
    variables = {"ACCELERATE_USE_CPU": "true"} if config is None else None
    finished = fork(*command_line(arguments), config=config, num_processes=num_processes, variables=variables)
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-6000:]
    return finished


def refused_by_driver(arguments, folder):
    """Runs the command line with arguments that it must refuse, from a folder; returns its errors."""
    finished = fork(*command_line(arguments), cwd=folder)
    assert finished.returncode != 0
    return finished.stderr


def command_line(arguments):
    """The arguments of `fork` that run the command line."""
    return call_main, run_glue_avil.main, ROOT / "run_glue_avil.py", list(map(str, arguments))


def call_main(main, script, arguments):
    """Calls a script's `main` as if the script had been started with the arguments."""
    sys.argv = [str(script), *arguments]
    status = main()
    if status:
        sys.exit(status)


def call_main_with_forks(main, script, arguments):
    """As [`call_main`], where `multiprocessing` starts forks of this process, which have everything imported."""
    get_context = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: get_context("fork")
    call_main(main, script, arguments)


def run_module(name, arguments):
    """Runs a module as `python -m` does."""
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise


def drive_until_sigterm(*arguments, step):
    """As [`drive`] on one process that gets SIGTERM in a step, counted from 1; whatever the exit code is."""
    call, *rest = command_line(arguments)
    return fork(call_with_sigterm, step, call, *rest, variables={"ACCELERATE_USE_CPU": "true"})


def call_with_sigterm(step, call, *arguments):
    """Calls a function whose trainer's process gets SIGTERM in a step."""
    DEFAULT_CALLBACKS.append(SignalAt(0, step, signal.SIGTERM))
    call(*arguments)


def is_plain(model):
    """Whether a model's class is of transformers, with no code in its folder: it loads without this package."""
    return type(model).__module__.startswith("transformers.") and not hasattr(model.config, "auto_map")


def launch_driver(*arguments, launcher):
    """Runs the command line by `accelerate launch`."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *launcher, ROOT / "run_glue_avil.py", *arguments]
    finished = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT, timeout=900
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-6000:]
    return finished


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))
