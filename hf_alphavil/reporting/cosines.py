"""The cosines between the tasks' deltas, from the history."""

from __future__ import annotations

from collections.abc import Sequence

from .history import HistoryEntry, kept_entries

COSINES_IN_WORDS = (
    "The cosine of two tasks' updates in the last epoch with forks that the kept model has: 1 if they move the shared "
    "parameters the same way, 0 if they have nothing in common, below 0 if they move them apart."
)


def cosines(history: Sequence[HistoryEntry]) -> dict[str, dict[str, float]]:
    """
    The cosines of the last epoch that has some, up to the kept model's.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `dict[str, dict[str, float]]`: All pairs in both orders, a task with itself included; empty if there are none.
    """
    measured = [entry["delta_cosine"] for entry in kept_entries(history) if "delta_cosine" in entry]
    if not measured:
        return {}
    found = {name: {name: 1.0} for one, others in measured[-1].items() for name in (one, *others)}
    for one, others in measured[-1].items():
        for other, value in others.items():
            found[one][other] = found[other][one] = value
    return found
