"""A parser of command lines whose errors are one line."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .user_errors import end_with_error

#: How many flags are named of those that start with an unknown one.
MAX_NAMED = 3
#: Flags are written in full: the beginning of a flag is an unknown flag.
_DEFAULTS: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}


class OneLineParser(argparse.ArgumentParser):
    """
    argparse's parser, with errors of one line instead of the usage, and a description that is shown as it is written.

    A wrong choice and an unknown flag name those that may be meant.

    Args:
        kwargs (`Any`): As in `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_DEFAULTS | kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]  # it is overloaded
        """As argparse's, but an unknown flag is an error of one line."""
        words = sys.argv[1:] if args is None else args
        known = tuple(_flags(self))
        for word in words:  # before argparse asks for what a mistyped flag should have given
            name = word.split("=")[0]
            if word.startswith("--") and name not in ("--", *known):
                self.refuse_unknown([word])
        parsed, rest = self.parse_known_args(words, namespace)
        self.refuse_unknown(rest)
        return parsed

    def refuse_unknown(self, words: Sequence[str]) -> None:
        """
        Ends the script if words of the command line are left over.

        Raises:
            SystemExit: After one line that names the first word, and the flag that may be meant.
        """
        if not words:
            return
        word = words[0].split("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected {word!r}: {self.where_words_belong()}")
        flags = list(_flags(self))
        start = f"--{word.lstrip('-').replace('-', '_')}"
        longer = list(dict.fromkeys(flag for flag in flags if flag.startswith(start) and "-" not in flag[2:]))
        close = longer if 0 < len(longer) <= MAX_NAMED else difflib.get_close_matches(word, flags, n=1)
        listing = "--help_all" if "--help_all" in flags else "--help"
        self.error(
            f"unknown flag {word}"
            + (f": did you mean {' or '.join(close)}?" if close else f"; {listing} lists all flags")
        )

    def where_words_belong(self) -> str:
        """`str`: What to do about a word that is neither a flag nor a flag's value."""
        return "write a flag's name before its value"

    def error(self, message: str) -> NoReturn:
        """Ends the script with one line, instead of argparse's usage."""
        end_with_error(" ".join(message.split()))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            close = difflib.get_close_matches(str(value).lower(), choices, n=1)
            hint = f"did you mean {close[0]}? It is " if close else "pass "
            reason = f"invalid choice: {value!r} ({hint}one of {', '.join(choices)})"
            raise argparse.ArgumentError(action, reason)


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The long flags of a parser and of its subcommands."""
    for action in parser._actions:
        yield from (flag for flag in action.option_strings if flag.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _flags(command)
