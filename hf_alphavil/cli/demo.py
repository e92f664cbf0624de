"""Compares αVIL with other methods on a built-in suite of generated tasks, of which it is known whether they help.

alphavil demo
alphavil demo --methods all --output_dir out/demo
"""

from __future__ import annotations

from collections.abc import Sequence

from ..demo.run import DEMO_METHODS, DEMO_SETTINGS, run_demo
from ..files.output_folder import check_can_write
from ..methods import METHODS
from ..settings.parser import OneLineParser
from ..settings.user_errors import UserErrorsInOneLine
from ..training_args import MultitaskTrainingArguments


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """
    Entry point of `alphavil demo`.

    Args:
        arguments (`Sequence[str]`, *optional*): The flags. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.

    Returns:
        `int`: The exit status.
    """
    parser = OneLineParser(prog=prog, description=__doc__)
    parser.add_argument("--output_dir", default="demo_output", help="folder of the runs (default demo_output)")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=DEMO_METHODS,
        choices=("all", *METHODS),
        metavar="METHOD",
        help=f"methods to run beside alphavil, or `all` (default {' '.join(DEMO_METHODS)})",
    )
    epochs = DEMO_SETTINGS["num_train_epochs"]
    parser.add_argument(
        "--num_train_epochs", type=float, default=epochs, help=f"epochs of each method (default {epochs:g})"
    )
    parser.add_argument("--seed", type=int, default=MultitaskTrainingArguments.seed, help="seed of tasks and training")
    parser.add_argument("--use_cpu", action="store_true", help="train on the CPU, whatever devices there are")
    options = parser.parse_args(arguments)
    methods = METHODS if "all" in options.methods else dict.fromkeys([*options.methods, "alphavil"])
    with UserErrorsInOneLine():
        check_can_write(options.output_dir)
        args = MultitaskTrainingArguments(
            output_dir=options.output_dir, seed=options.seed, use_cpu=options.use_cpu, disable_tqdm=True
        )
        run_demo(args, list(methods), num_train_epochs=options.num_train_epochs)
    return 0
