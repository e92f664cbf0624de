"""Options of commands that execute many runs: how many at a time, for how long, and which of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """
    Every n-th run, from the i-th.

    Args:
        index (`int`): i, from 0.
        count (`int`): n.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Reads `i/n`."""
        index, _, count = text.partition("/")
        try:
            share = cls(int(index), int(count))
        except ValueError:
            share = None
        if share is None or not 0 <= share.index < share.count:
            raise argparse.ArgumentTypeError(f"{text!r}: pass i/n with 0 <= i < n, such as 0/2")
        return share

    def of(self, runs: Sequence[T]) -> list[T]:
        """The share's runs."""
        return list(runs[self.index :: self.count])


class Deadline:
    """
    A time after which no run may start.

    Args:
        minutes (`float`): Minutes from now.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def is_over(self) -> bool:
        """Whether the time has come."""
        return time.monotonic() >= self._end


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--jobs`, `--minutes` and `--shard`."""
    parser.add_argument("--jobs", type=_positive, default=1, help="number of runs at a time (default 1)")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="no run starts later; those that run are finished"
    )
    parser.add_argument(
        "--shard", type=Share.parse, default=Share(0, 1), metavar="i/n", help="only every n-th run, from the i-th (0)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: pass 1 or more")
    return number
