"""Compares methods × targets × seeds, as a YAML file says. Each run is a separate process.

alphavil compare comparison.yaml --output out/comparison --jobs 2

The comparison can be stopped at any time. When restarted, it keeps all finished runs.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files.hub_cache import say_retries_once
from ..settings.parser import OneLineParser
from ..settings.user_errors import UserErrorsInOneLine
from .compare import compare
from .config import read_comparison
from .folder import Folder
from .run_options import Deadline, add_run_options

STOPPED = 128


def main(
    arguments: Sequence[str] | None = None, prog: str | None = None, presets: Mapping[str, Path] | None = None
) -> int:
    """
    Entry point of `alphavil compare` and of `benchmarks/compare_methods.py`.

    Args:
        arguments (`Sequence[str]`, *optional*): The command line. Defaults to that of the process.
        prog (`str`, *optional*): The command's name in `--help` and reports. Defaults to the running script.
        presets (`Mapping[str, Path]`, *optional*): YAML files that may be passed by name.

    Returns:
        `int`: The exit status: 1 if a run failed. A user's error ends the script with status 2.
    """
    arguments, presets = sys.argv[1:] if arguments is None else list(arguments), presets or {}
    parser = OneLineParser(prog=prog, description=__doc__)
    named = f", or a preset: {', '.join(presets)}" if presets else ""
    parser.add_argument("config", help=f"YAML file{named}")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the report")
    add_run_options(parser)
    parser.add_argument("--data_dir", help="folder of the official files; overrides the configuration")
    parser.add_argument("--model_name_or_path", help="encoder by id or folder; overrides the configuration")
    with UserErrorsInOneLine():
        options = parser.parse_args(arguments)
        deadline = Deadline(options.minutes)
        say_retries_once()
        path = _find(options.config, presets)
        comparison = read_comparison(path, options.data_dir, options.model_name_or_path)
        folder = Folder(options.output, comparison)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        command = shlex.join([*(["python", sys.argv[0]] if prog is None else prog.split()), *arguments])
        return compare(folder, command, options.jobs, options.shard, deadline)


def _find(config: str, presets: Mapping[str, Path]) -> Path:
    path = presets.get(config, Path(config))
    if not path.is_file():
        named = f" or preset; pass a YAML file, or one of {', '.join(presets)}" if presets else ": pass a YAML file"
        raise ValueError(f"{config}: no such file{named}")
    return path


def _stop(number: int, frame: object) -> None:
    raise SystemExit(STOPPED + number)
