"""Compares what all ranks are about to do, so that ranks that disagree stop instead of hanging or training apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from accelerate.utils import gather_object

#: Differences that an error lists.
MAX_SHOWN = 5


def differences_between_ranks(mine: Mapping[str, Any]) -> list[str]:
    """
    Compares a description over all ranks. All ranks must call it.

    Args:
        mine (`Mapping[str, Any]`): This rank's description, by name: values that pickle can copy.

    Returns:
        `list[str]`: What differs, in words, the same on all ranks.
    """
    first, *others = gather_object([dict(mine)])
    found: dict[str, str] = {}
    for rank, theirs in enumerate(others, start=1):
        for name in {**first, **theirs}:
            one, other = first.get(name), theirs.get(name)
            if one != other and name not in found:
                found[name] = _describe(name, one, other, rank)
    return list(found.values())


def require_equal_ranks(mine: Mapping[str, Any]) -> None:
    """
    Refuses to train if ranks disagree. All ranks must call it.

    Args:
        mine (`Mapping[str, Any]`): As in [`differences_between_ranks`].

    Raises:
        ValueError: On all ranks, if something differs. The message says what, and on which rank.
    """
    if differences := differences_between_ranks(mine):
        more = len(differences) - MAX_SHOWN
        shown = "; ".join(differences[:MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise ValueError(
            f"the ranks of this run disagree, so they would hang or give a wrong result: {shown}. Start all with "
            "the same arguments, and build tasks, rows and models in the same order (a `set` has no fixed order)"
        )


def raise_together(problem: str | None) -> None:
    """
    Raises a problem that one rank has on all of them, so that none waits for it. All ranks must call it.

    Args:
        problem (`str`, *optional*): This rank's problem, in words.

    Raises:
        ValueError: On all ranks, if one has a problem. The first rank's comes first.
    """
    if (first := next((one for one in gather_object([problem]) if one is not None), None)) is not None:
        raise ValueError(first)


def first_difference(one: Sequence[Any], other: Sequence[Any], missing: Any) -> tuple[int, Any, Any]:
    """
    Finds the first place where two lists differ, which says enough of a long list.

    Args:
        one (`Sequence`): A list.
        other (`Sequence`): A list that is not equal to it.
        missing (`Any`): What stands for an entry that only the longer list has.

    Returns:
        `tuple[int, Any, Any]`: The place, from 1, and both entries.
    """
    pairs = enumerate(zip_longest(one, other, fillvalue=missing), start=1)
    return next((number, *pair) for number, pair in pairs if pair[0] != pair[1])


def _describe(name: str, one: Any, other: Any, rank: int) -> str:
    if _is_list(one) and _is_list(other):
        number, one, other = first_difference(one, other, "missing")
        name = f"{name}, number {number}"
    return f"{name} is {one!r:.200} on rank 0 and {other!r:.200} on rank {rank}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
