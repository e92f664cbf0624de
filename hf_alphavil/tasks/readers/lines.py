"""The lines of a text file."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError


def read_lines(file: Path) -> list[str]:
    """
    The lines of a UTF-8 file, without line ends.

    A byte order mark and blank lines at the end are dropped, and a last line needs no newline. Only a newline ends a
    line: `str.splitlines` would also split at characters that stand inside sentences, such as U+2028 or U+0085.

    Raises:
        [`DataError`]: for a file that is missing, unreadable, not UTF-8 or empty.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file.", file, advice="Download the task's official files again.") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", file) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError("is not UTF-8.", file, line, "Convert the file to UTF-8.") from None
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    if lines == [""]:
        raise DataError("is empty.", file, advice="Download the task's official files again.")
    return lines
