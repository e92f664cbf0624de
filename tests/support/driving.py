"""The command line, as a user runs it."""

import json
import subprocess
import sys

from support.launching import ROOT

SMALL = ["--max_train_samples", "96", "--max_eval_samples", "32", "--max_seq_length", "32", "--disable_tqdm", "true"]


def drive(*arguments, launcher=(), cwd=ROOT):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *launcher,
        str(ROOT / "run_glue_avil.py"),
        *arguments,
    ]
    finished = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, timeout=900
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-6000:]
    return finished


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))
