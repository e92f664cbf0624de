"""The end of messages about mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """
    A sentence, after a space, that names the known word most like a mistyped one; empty if none is like it.

    Args:
        word (`Any`): What the user wrote. Upper and lower case are the same.
        known (`Iterable[str]`): What could be written.

    Returns:
        `str`: Such as `" Did you mean 'alphavil'?"`.
    """
    spellings = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(str(word).casefold(), spellings, n=1)
    return f" Did you mean {spellings[close[0]]!r}?" if close else ""
