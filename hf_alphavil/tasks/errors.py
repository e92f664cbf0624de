"""The error for unusable task data, its default handler, and the error for a missing package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path


class DataError(ValueError):
    """
    Task data that cannot be used as it is.

    Args:
        reason (`str`):
            What is wrong.
        file (`str` or `Path`, *optional*):
            The file that holds the fault.
        line (`int`, *optional*):
            Its line in the file, counted from 1.
        advice (`str`, *optional*):
            What to do about it.
    """

    def __init__(
        self, reason: str, file: str | Path | None = None, line: int | None = None, advice: str | None = None
    ) -> None:
        if isinstance(file, Path) and ".." in file.parts:
            file = file.resolve()
        self.reason, self.file, self.line, self.advice = reason, file, line, advice
        super().__init__(reason, file, line, advice)

    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = f"{self.file}, line {self.line}: " if self.line is not None else f"{self.file}: "
        return place + self.reason + (f" {self.advice}" if self.advice else "")


#: Called with the error of every faulty row. If it returns instead of raising, the row is skipped.
Report = Callable[[DataError], None]


def raise_error(error: DataError) -> None:
    """Raises the error. Loading thus stops at the first faulty row, so that no row is left out silently."""
    raise error


def require_package(name: str, what: str) -> None:
    """
    Checks that a package is installed which is not needed by every run.

    Args:
        name (`str`): The package.
        what (`str`): What needs it.

    Raises:
        ImportError: If the package is not installed.
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{what} needs the package `{name}`: pip install {name}") from error
