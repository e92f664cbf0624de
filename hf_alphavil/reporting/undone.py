"""Which phases of a run diverged and were undone, in words."""

from __future__ import annotations

from collections.abc import Sequence

from .history import HistoryEntry


def undone_in_words(history: Sequence[HistoryEntry]) -> str:
    """
    Says which phases diverged, and in which epochs, so that nothing of them is in the model.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `str`: Such as `Diverged and undone: (joint) in epoch 2, b in epochs 1 to 4 and 6.`; empty if none did.
    """
    epochs: dict[str, list[int]] = {}
    for entry in history:
        for phase in entry.get("dropped", ()):
            epochs.setdefault(phase, []).append(entry["epoch"])
    found = [f"{phase} in epoch{'s' if len(of) > 1 else ''} {_ranges(of)}" for phase, of in epochs.items()]
    return f"Diverged and undone: {', '.join(found)}." if found else ""


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers, with runs of them as ranges."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    return " and ".join(" to ".join(map(str, ends)) for ends in ranges)
