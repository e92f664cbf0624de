"""`alphavil`: one command for everything. A subcommand is imported when it is called."""

from __future__ import annotations

import difflib
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from ..version import __version__

#: The subcommands: the module whose `main(arguments, prog)` returns the exit status, and what the command does.
COMMANDS = {
    "train": ("hf_alphavil.cli.train", "train a target task with the help of auxiliary tasks"),
    "demo": ("hf_alphavil.cli.demo", "compare αVIL with its baselines on generated tasks, without a network"),
    "rank": ("hf_alphavil.cli.rank", "rank candidate auxiliaries by short probes, without training on them"),
    "report": ("hf_alphavil.cli.report", "write the page of a run again, or its task weights for another library"),
    "tasks": ("hf_alphavil.tasks.__main__", "list and check tasks, and zip predictions for a leaderboard"),
    "compare": ("hf_alphavil.comparing.command", "compare methods × targets × seeds, as a YAML file says"),
}
#: The exit status after a mistyped command, as argparse has it.
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Entry point.

    Args:
        arguments (`Sequence[str]`, *optional*): The command line. Defaults to that of the process.

    Returns:
        `int`: The exit status: that of the subcommand, or 2 if there is no such subcommand.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"alphavil {__version__}")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"pass one of {', '.join(COMMANDS)}"
        print(f"error: unknown command {name!r}: {hint}", file=sys.stderr)
        return USAGE_ERROR
    command = import_module(COMMANDS[name][0])
    gc.freeze()  # what the imports made stays: collections need not look at it
    return command.main(rest, f"alphavil {name}")


def _help() -> str:
    lines = [
        "usage: alphavil COMMAND ...",
        "",
        "Trains a small target task with the help of auxiliary tasks (αVIL, arXiv 2405.07769).",
        "",
        *(f"  {name:<9} {what}" for name, (_, what) in COMMANDS.items()),
        "",
        "`alphavil COMMAND --help` shows the flags of a command, and `alphavil --version` the version.",
    ]
    return "\n".join(lines)
