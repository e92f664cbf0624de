"""Writes report.html of a run again from its files, without the model, or its task weights for another library.

alphavil report out/rte
alphavil report out/rte/checkpoint-120 --no_examples
alphavil report out/rte --export_mixture trl
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files.atomic_file import atomic_write
from ..reporting.mixture import FORMS, export_mixture
from ..reporting.run_files import read_run_files, write_page_of
from ..settings.parser import OneLineParser
from ..settings.user_errors import UserErrorsInOneLine


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """
    Entry point of `alphavil report`.

    Args:
        arguments (`Sequence[str]`, *optional*): The flags. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.

    Returns:
        `int`: The exit status.
    """
    parser = OneLineParser(prog=prog, description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's output folder, or one of its checkpoints")
    parser.add_argument("--no_examples", "--no-examples", action="store_true", help="leave out rows of the tasks")
    parser.add_argument(
        "--export_mixture",
        "--export-mixture",
        choices=FORMS,
        help="write the learned task weights as the dataset settings of this library to mixture_LIBRARY.yaml, and no "
        "page",
    )
    with UserErrorsInOneLine():
        options = parser.parse_args(arguments)
        if options.no_examples and options.export_mixture is not None:
            raise ValueError("--export_mixture writes no page: leave --no_examples out")
        files = read_run_files(options.folder)
        if options.export_mixture is None:
            print(f"wrote {write_page_of(files, options.folder, not options.no_examples)}")
            return 0
        text, left_out = export_mixture(options.export_mixture, files.facts, files.history)
        path = options.folder / f"mixture_{options.export_mixture}.yaml"
        atomic_write(path, text)
        print(f"wrote {path}")
        if left_out:
            print(f"left out, because their weight is not above 0: {', '.join(left_out)}")
    return 0
