"""`alphavil tasks` and `python -m hf_alphavil.tasks`: lists and checks tasks, and zips prediction files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..files.hub_cache import say_retries_once
from ..settings.parser import OneLineParser
from ..settings.user_errors import UserErrorsInOneLine
from .definition_reader import read_definitions
from .errors import require_package
from .registry import BENCHMARKS, YAML_SUFFIXES, available_tasks, get_definition, own_definitions

_DESCRIPTION = "Lists and checks tasks, and zips leaderboards' sets of predictions."


def main(arguments: Sequence[str] | None = None, prog: str = "python -m hf_alphavil.tasks") -> int:
    """
    Entry point of `alphavil tasks` and of `python -m hf_alphavil.tasks`.

    Args:
        arguments (`Sequence[str]`, *optional*): The command line. Defaults to that of the process.
        prog (`str`, *optional*, defaults to `"python -m hf_alphavil.tasks"`): The command's name in `--help`.

    Returns:
        `int`: The exit status: 0, or 1 if a check found problems. Any other error ends the command with status 2.
    """
    parser = OneLineParser(prog=prog, description=_DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="read a task and its data: rows, labels, lengths, examples, problems")
    check.add_argument("task", help="a task's name, or a YAML file or a folder of them: all tasks in it are checked")
    check.add_argument("--data_dir", help="folder of the official files; without it, the Hub")
    check.add_argument("--include_path", nargs="+", help="YAML files, or folders of them, with tasks of your own")
    check.add_argument("--tokenizer", help="tokenizer by Hub id or folder: shows inputs as the model gets them")
    check.add_argument("--max_length", type=int, help="longest input in tokens")
    check.set_defaults(run=_check)

    listing = commands.add_parser("list", help="the names of all tasks, their kinds and sources")
    listing.add_argument("--include_path", nargs="+", help="YAML files, or folders of them, with tasks of your own")
    listing.set_defaults(run=_list)

    table = commands.add_parser("table", help="all benchmark tasks as the Markdown table of docs/tasks.md")
    table.set_defaults(run=_table)

    keys = commands.add_parser("keys", help="all keys of a task's YAML file as the Markdown table of docs/tasks.md")
    keys.set_defaults(run=_keys)

    submission = commands.add_parser("submission", help="zip a leaderboard's complete set of prediction files")
    submission.add_argument("benchmark", choices=BENCHMARKS)
    submission.add_argument(
        "paths", nargs="*", help="prediction files, or folders of them, such as out/rte/predictions"
    )
    submission.add_argument("--output", required=True, help="the zip file")
    submission.add_argument("--data_dir", help="folder of the official files, for MultiRC's placeholder")
    submission.set_defaults(run=_submission)

    with UserErrorsInOneLine():
        options = parser.parse_args(arguments)
        return options.run(options)


def _check(options: argparse.Namespace) -> int:
    require_package("datasets", "a check of rows")
    import datasets

    from .check import TaskCheck

    datasets.disable_progress_bars()
    say_retries_once()
    if Path(options.task).is_dir():
        definitions = list(own_definitions(options.task).values())
    elif options.task.endswith(YAML_SUFFIXES):
        definitions = list(read_definitions(Path(options.task).expanduser().resolve()).values())
    else:
        definitions = [get_definition(options.task, own_definitions(options.include_path))]
    tokenizer = None
    if options.tokenizer:
        from ..modeling.loading import load_tokenizer

        tokenizer = load_tokenizer(options.tokenizer)
    checks = []
    for definition in definitions:
        checks.append(TaskCheck(definition, options.data_dir, tokenizer, options.max_length))
        print(checks[-1].report, end="\n\n" if len(checks) < len(definitions) else "\n")
    return 1 if any(check.problems for check in checks) else 0


def _list(options: argparse.Namespace) -> int:
    own = own_definitions(options.include_path)
    definitions = [get_definition(name, own) for name in available_tasks(options.include_path)]
    rows = [
        (
            definition.key,
            definition.spec.kind,
            definition.benchmark or "own",
            str(definition.source.file) if definition.key in own else (definition.hub.path if definition.hub else ""),
        )
        for definition in definitions
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]))
    return 0


def _table(options: argparse.Namespace) -> int:
    from .task_table import task_table

    print(task_table())
    return 0


def _keys(options: argparse.Namespace) -> int:
    from .key_table import key_table

    print(key_table())
    return 0


def _submission(options: argparse.Namespace) -> int:
    from .submission_set import describe_submission, make_submission

    origins = make_submission(options.benchmark, options.paths, options.output, options.data_dir)
    print(describe_submission(origins, options.output))
    for path in options.paths:
        if Path(path).is_file() and str(Path(path)) not in origins.values():
            print(f"left out {path}: {options.benchmark} has no file of this name")
    return 0


if __name__ == "__main__":
    sys.exit(main())
