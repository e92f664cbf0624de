"""Trains a target task of GLUE, SuperGLUE or your own with the help of auxiliary tasks by αVIL (arXiv 2405.07769).

alphavil train --target rte --output_dir out/rte
alphavil train --target mytask --task_config tasks.yaml --auxiliary rte --output_dir out/mytask
accelerate launch -m hf_alphavil.cli train --target rte --output_dir out/rte
"""

from __future__ import annotations

from collections.abc import Sequence

from ..distributed.launch import end_process_group
from ..files.output_folder import check_can_write
from ..methods import METHODS
from ..modeling.lora import LoraArguments
from ..publishing.failures import check_token
from ..script_arguments import (
    COMMON_FLAGS,
    DriverArguments,
    DriverTrainingArguments,
    check_early_stopping,
    check_together,
)
from ..settings.changed import changed_fields
from ..settings.user_errors import UserErrorsInOneLine
from .flags import read_flags
from .train_folder import check_folder_is_free
from .train_recipe import use_recipe
from .train_run import run


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """
    Entry point of `alphavil train` and of `run_glue_avil.py`.

    Args:
        arguments (`Sequence[str]`, *optional*): The flags. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.

    Returns:
        `int`: The exit status.
    """
    with UserErrorsInOneLine() as errors:
        classes = (DriverArguments, DriverTrainingArguments, LoraArguments)
        driver, args, lora, given = read_flags(errors, classes, __doc__, arguments, prog, COMMON_FLAGS)
        lora.given = given
        if not driver.demo:
            args.decide(given, predicts=driver.make_submission is not None)
        check_together(driver, args, lora)
        check_can_write(args.output_dir)
        if not driver.demo:
            check_folder_is_free(driver, args)
        if driver.demo:
            from ..demo.run import DEMO_METHODS, run_demo  # with the code of its encoder's architecture

            run_demo(args, list(METHODS) if args.all_methods else list(dict.fromkeys([*DEMO_METHODS, args.method])))
            status = 0
        else:
            said = use_recipe(driver, args, lora, given)
            check_early_stopping(driver, args)
            check_token(args)
            if "output_dir" not in given:
                said.append(f"results go to {args.output_dir}: pass --output_dir for another folder")
            args.script_settings = changed_fields(driver) | changed_fields(lora)
            status = run(driver, args, lora, said)
        end_process_group()
    return status
