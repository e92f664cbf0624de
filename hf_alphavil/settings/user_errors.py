"""A user's errors in one line each, without the traceback that only a developer needs."""

from __future__ import annotations

import sys
from types import TracebackType

#: What a wrong flag, name, file or value raises. Other exceptions are faults of the program, and keep their traceback.
USER_ERRORS = (ValueError, OSError, ImportError)
#: The exit status after a user's error, as argparse has it.
USER_ERROR_STATUS = 2
MAX_LENGTH = 1000


class UserErrorsInOneLine:
    """
    A context in which a user's error ends the script with one line on stderr and the exit status 2.

    Attributes:
        traceback (`bool`): Whether errors keep their traceback. Initially, whether `--traceback` is among the flags.

    Example:

    ```python
    >>> with UserErrorsInOneLine() as errors:
    ...     (args,) = parse_command_line((Arguments,))
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
        if isinstance(error, USER_ERRORS) and not self.traceback:
            print(f"error: {in_one_line(error)}", file=sys.stderr)
            raise SystemExit(USER_ERROR_STATUS) from None


def in_one_line(error: BaseException) -> str:
    """An error's message without line ends, and shortened if it is very long."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} …"
