"""A user's errors in one line each, without the traceback that only a developer needs."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from safetensors import SafetensorError

#: What a wrong flag, name, file or value raises, or a full disk. Other exceptions are faults of the program, and keep
#: their traceback.
USER_ERRORS = (ValueError, OSError, ImportError, SafetensorError)
#: The exit status after a user's error, as argparse has it.
USER_ERROR_STATUS = 2
#: The exit status if nobody reads what the command prints, as in `alphavil tasks check rte | head`: that of SIGPIPE.
NOBODY_READS_STATUS = 128 + 13
MAX_LENGTH = 1000
#: Seconds for which other processes of a launch keep their error to themselves. If the main process has it too, the
#: launcher ends them within this time.
SECONDS_FOR_MAIN_PROCESS = 15.0


class UserErrorsInOneLine:
    """
    A context in which a user's error ends the script with one line on stderr and the exit status 2.

    A script whose output nobody reads any more ends without a line.

    Attributes:
        traceback (`bool`): Whether errors keep their traceback. Initially, whether `--traceback` is among the flags.

    Example:

    ```python
    >>> with UserErrorsInOneLine() as errors:
    ...     args, _ = parse_command_line((Arguments,))
    ...     errors.traceback |= args.traceback
    ...     run(args)
    ```
    """

    def __init__(self) -> None:
        self.traceback = "--traceback" in sys.argv

    def __enter__(self) -> UserErrorsInOneLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (error is None or isinstance(error, (BrokenPipeError, SystemExit))) and not _is_read(error):
            raise SystemExit(NOBODY_READS_STATUS) from None
        if isinstance(error, USER_ERRORS) and not self.traceback:
            end_with_error(in_one_line(error))


def end_with_error(text: str) -> NoReturn:
    """
    Ends the script with one line on stderr and the exit status 2.

    An error that all processes of a launch have is printed once, by the main process. An error of another process
    alone names its rank. torchrun's own report repeats the line as the root cause.

    Args:
        text (`str`): The line.
    """
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        time.sleep(SECONDS_FOR_MAIN_PROCESS)
        text = f"rank {rank}: {text}"
    print(f"error: {text}", file=sys.stderr, flush=True)
    if report := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        message = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(report).write_text(json.dumps({"message": message}), encoding="utf-8")
    raise SystemExit(USER_ERROR_STATUS) from None


def in_one_line(error: BaseException) -> str:
    """An error's message without line ends, and shortened if it is very long."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} …"


def _is_read(error: BaseException | None) -> bool:
    """Whether somebody reads stdout. If not, Python's last flush gets another place to write to."""
    try:
        # What a failed write has lost is not flushed again; and the broken pipe may be another than stdout.
        print(end="\n" if isinstance(error, BrokenPipeError) else "", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
