"""Reads the text and the lines of a file."""

from __future__ import annotations

from pathlib import Path

from ...files.regular_file import read_regular_file
from ..errors import DataError

#: The first bytes of forms that are not text, what they are, and what to do.
_OTHER_FORMS = {
    b"\x1f\x8b": ("is compressed by gzip.", "Unpack it."),
    b"PK\x03\x04": ("is a ZIP archive or a spreadsheet.", "Unpack it, or save the sheet as CSV."),
    b"PAR1": ("is a Parquet file.", "Give it the suffix .parquet, or write `format: parquet` below `files`."),
    b"\xff\xfe": ("is not UTF-8, but UTF-16.", "Convert the file to UTF-8."),
    b"\xfe\xff": ("is not UTF-8, but UTF-16.", "Convert the file to UTF-8."),
}


def read_bytes(file: Path, max_bytes: int | None = None) -> bytes:
    """
    A file's content.

    Args:
        file (`Path`): The file.
        max_bytes (`int`, *optional*): The longest content that is read. By default, there is no limit.

    Raises:
        DataError: If the file is missing, unreadable, too large, or not a regular file.
    """
    try:
        return read_regular_file(file, max_bytes)
    except FileNotFoundError:
        raise DataError("no such file.", file, advice="Correct its path, or download the data again.") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", file) from error
    except ValueError as error:  # also a path with a NUL
        raise DataError(str(error), file) from None


def read_file_text(file: Path, max_bytes: int | None = None) -> str:
    """
    The text of a UTF-8 file, without a byte order mark.

    Args:
        file (`Path`): The file.
        max_bytes (`int`, *optional*): The longest content that is read. By default, there is no limit.

    Raises:
        DataError: If the file is missing, unreadable, too large, not UTF-8 or empty, or holds a NUL.
    """
    content = read_bytes(file, max_bytes)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason, advice = _other_form(content) or ("is not UTF-8.", "Convert the file to UTF-8.")
        raise DataError(reason, file, line, advice) from None
    if "\0" in text:  # UTF-16 without a byte order mark is valid UTF-8, with a NUL beside every letter
        line = text.count("\n", 0, text.index("\0")) + 1
        nul = "holds a NUL byte, which is not text.", "Convert the file to UTF-8."
        reason, advice = _other_form(content) or nul
        raise DataError(reason, file, line, advice)
    if not text.strip("\r\n"):
        raise DataError("is empty.", file, advice="Write it, or download the data again.")
    return text


def read_lines(file: Path) -> list[str]:
    """
    The lines of a UTF-8 file, without line ends.

    A byte order mark and blank lines at the end are dropped, and a last line needs no newline. Only a newline ends a
    line: `str.splitlines` would also split at characters inside sentences, such as U+2028 or U+0085.

    Raises:
        DataError: If the file is missing, unreadable, not UTF-8 or empty, or holds a NUL.
    """
    return [line.removesuffix("\r") for line in read_file_text(file).rstrip("\r\n").split("\n")]


def _other_form(content: bytes) -> tuple[str, str] | None:
    return next((what for start, what in _OTHER_FORMS.items() if content.startswith(start)), None)
