"""CPU seconds of imports and of a run's start.

python benchmarks/startup.py --data_dir ../shared/data --model_name_or_path ENCODER

Importing this package's trainer and the driver's `--help` are divided by importing transformers' Trainer, in
alternating new processes, all from compiled files. A run's start is from the end of all imports to the beginning and
to the end of the first optimizer step of RTE, in a process whose token cache an earlier one has filled.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cpu_pairs import ratios
from memory import packaged_encoder
from results_file import add_output, write_result

DRIVER = Path(__file__).parents[1] / "run_glue_avil.py"

#: Runs the driver until the first step ends, and prints the CPU seconds since the end of the imports.
FIRST_STEP = """
import runpy, sys, time
from transformers import trainer_callback, Trainer
import transformers.models.bert.modeling_bert, datasets, sklearn.metrics
sys.path.insert(0, sys.argv[1])
import run_glue_avil
began = time.process_time()
def on_step_begin(*args):
    print("seconds", time.process_time() - began, flush=True)
    return begin_step(*args)
def on_step_end(*args):
    print("seconds", time.process_time() - began, flush=True)
    raise SystemExit(0)
begin_step = trainer_callback.CallbackHandler.on_step_begin
trainer_callback.CallbackHandler.on_step_begin = on_step_begin
trainer_callback.CallbackHandler.on_step_end = on_step_end
sys.argv = ["run_glue_avil.py", *sys.argv[2:]]
runpy.run_path(run_glue_avil.__file__, run_name="__main__")
"""


#: With compiled files, as every installed package has them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_seconds(command: Sequence[str]) -> float:
    """CPU seconds of a process and what it starts."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def start_seconds(options: argparse.Namespace, cache: str) -> list[float]:
    """CPU seconds from the end of the imports to the beginning and to the end of a run's first step."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "--target": "rte", "--data_dir": options.data_dir, "--model_name_or_path": options.model_name_or_path,
            "--output_dir": folder, "--num_train_epochs": "1", "--use_cpu": "true", "--disable_tqdm": "true",
        }  # fmt: skip
        command = [
            sys.executable,
            "-c",
            FIRST_STEP,
            str(DRIVER.parent),
            *[w for pair in arguments.items() for w in pair],
        ]
        environment = ENVIRONMENT | {"HF_DATASETS_CACHE": cache}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    found = [float(line.split()[1]) for line in ran.stdout.splitlines() if line.startswith("seconds ")]
    if len(found) != 2:
        raise RuntimeError(ran.stderr[-2000:])
    return found


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of the official GLUE and SuperGLUE files")
    parser.add_argument("--model_name_or_path", help="the encoder (default: the packaged all-MiniLM-L6-v2)")
    parser.add_argument("--rounds", type=int, default=3)
    add_output(parser)
    options = parser.parse_args()
    options.model_name_or_path = options.model_name_or_path or packaged_encoder()
    commands = {
        "Trainer": ["-c", "from transformers import Trainer"],
        "hf_alphavil": [
            "-c",
            f"import sys; sys.path.insert(0, {str(DRIVER.parent)!r}); from hf_alphavil import MultitaskTrainer",
        ],
        "--help": [str(DRIVER), "--help"],
    }
    for command in commands.values():  # writes compiled files
        cpu_seconds(command)
    imports = ratios(
        {name: partial(cpu_seconds, command) for name, command in commands.items()}, "Trainer", options.rounds
    )
    with tempfile.TemporaryDirectory() as cache:
        starts = [start_seconds(options, cache) for _ in range(1 + options.rounds)]
    write_result(options, {"imports": imports, "first_start": starts[0], "later_starts": starts[1:]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
