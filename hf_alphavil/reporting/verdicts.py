"""Verdicts: which tasks helped the target, as far as its held-out rows can tell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .history import HistoryEntry, kept_entries, kept_entry

HELPED, HURT, NO_EFFECT, TOO_FEW_ROWS = "helped", "hurt", "no clear effect", "too few rows to tell"
#: Coverage of the interval of a contribution.
CONFIDENCE = 0.95
#: Level, on one side, at which the epochs must agree on a task that helped or hurt.
EPOCH_CONFIDENCE = 0.95
#: Fewest epochs whose contributions can say anything.
LEAST_EPOCHS = 3
#: An effect below this fraction of the held-out loss is small: it is not clear, whatever its interval.
SMALL_EFFECT = 0.05
#: What is below this is shown as 0.
LEAST_SHOWN = 1e-8
VERDICTS_IN_WORDS = (
    "*Held-out loss saved* is the target's loss without the task's updates minus its loss with them, on the rows on "
    f"which α was fitted. It is summed over the epochs and has its {CONFIDENCE:.0%} interval over rows. *helped* and "
    f"*hurt*: the interval is on one side of 0, the epochs agree, and the effect is at least {SMALL_EFFECT:.0%} of "
    "the loss. *no clear effect*: the epochs disagree, the effect is smaller, or the interval includes 0 and is "
    f"within {SMALL_EFFECT:.0%} of the loss. *too few rows to tell*: the interval is wider, or fewer than "
    f"{LEAST_EPOCHS} epochs measured the task."
)


@dataclass(frozen=True)
class Verdict:
    """
    What a task's deltas did for the target, up to the kept model's epoch.

    The rule is ours. The contribution is the sum over epochs of the target's held-out loss without the task's delta,
    minus the loss with it. Its interval is Student's t over the rows. *helped* and *hurt*: the interval is on one side
    of 0, the epochs agree ([`epochs_agree`]), and the contribution is at least `SMALL_EFFECT` of the held-out loss.
    *no clear effect*: they disagree, it is smaller, or the interval includes 0 and is within ± `SMALL_EFFECT` of the
    loss. *too few rows to tell*: the interval includes 0 and is wider, its width is not known, or fewer than
    `LEAST_EPOCHS` epochs measured the task.

    The rows alone are not enough: even an update in a random direction changes the loss, and many rows show that. What
    a useless task's updates do in one epoch, they do not do in the next ones.

    Args:
        words (`str`): `HELPED`, `HURT`, `NO_EFFECT` or `TOO_FEW_ROWS`.
        contribution (`float`): Mean over rows, in units of the target's loss; above 0 if the task helped.
        half_width (`float`, *optional*): Half of its 95 % interval; `None` if losses of single rows are not known.
    """

    words: str
    contribution: float
    half_width: float | None

    @property
    def interval(self) -> str:
        """`str`: The contribution and half of its interval, such as `+0.120 ± 0.031`, or `+0.00120 ± 0.00031`."""
        half = self.half_width
        scale = abs(self.contribution) if half is None else half
        digits = 1 - math.floor(math.log10(scale)) if LEAST_SHOWN <= scale < 0.01 else 3
        contribution = f"{self.contribution:+.{digits}f}"
        if half is None:
            return contribution
        return f"{contribution} ± " + (f"{half:.{digits}f}" if half >= LEAST_SHOWN else "0")


def verdicts(
    history: Sequence[HistoryEntry], least_epochs: int = LEAST_EPOCHS, small_effect: float = SMALL_EFFECT
) -> dict[str, Verdict]:
    """
    The verdicts on the tasks of a run.

    Args:
        history (`Sequence[dict]`): The history of a run.
        least_epochs (`int`, *optional*, defaults to 3): Fewest epochs that can say anything.
        small_effect (`float`, *optional*, defaults to 0.05):
            Fraction of the held-out loss below which no contribution helped or hurt.

    Returns:
        `dict[str, Verdict]`: By task, the target included; empty if no contribution was measured.
    """
    entry = kept_entry(history)
    totals = entry.get("total_contribution", {})
    epochs = [of_epoch.get("contribution", {}) for of_epoch in kept_entries(history)] if totals else []
    return {
        task: _verdict(
            total, [of[task] for of in epochs if task in of], entry["held_out_loss"], least_epochs, small_effect
        )
        for task, total in totals.items()
    }


def verdicts_in_short(history: Sequence[HistoryEntry]) -> str:
    """
    What the verdicts of a run are and are not, in ASCII.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `str`: Empty if no contribution was measured.
    """
    totals = kept_entry(history).get("total_contribution", {})
    if not totals:
        return ""
    epochs = sum(bool(entry.get("contribution")) for entry in kept_entries(history))
    rows = max(total["rows"] for total in totals.values())
    return (
        "Verdicts judge the merged updates on "
        + (f"{rows} held-out rows" if rows > 1 else "held-out rows, whose single losses are not known,")
        + f" over {epochs} epoch{'' if epochs == 1 else 's'} with forks"
        + (f" ({LEAST_EPOCHS} are needed to tell)" if epochs < LEAST_EPOCHS else "")
        + ". They are hints and no proof: `alphavil compare` with `leave_one_out` tests them (docs/choosing.md)."
    )


def half_width(contribution: Mapping[str, Any]) -> float | None:
    """
    Half of the 95 % interval of a contribution, by Student's t over the rows.

    Args:
        contribution (`Mapping`): `standard_error` and `rows`, as in the history.

    Returns:
        `float`, *optional*: `None` if the error is not known.
    """
    error = contribution["standard_error"]
    if error is None or not math.isfinite(error):  # `read_history` gives NaN for None
        return None
    from scipy import stats  # takes half a second to import

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, contribution["rows"] - 1)) * error


def epochs_agree(contributions: Sequence[Mapping[str, Any]], sign: int) -> bool:
    """
    Whether a task's contributions to several epochs agree on their sign.

    They do if the mean of contribution / standard error over the epochs is on that side of 0 in a one-sided t test at
    the level `EPOCH_CONFIDENCE`. In units of their errors, epochs count alike, although contributions shrink with the
    loss. A single epoch agrees with itself. The rule is ours.

    Args:
        contributions (`Sequence[Mapping]`): By epoch, `mean` and `standard_error`.
        sign (`int`): 1 or −1.
    """
    scores = [sign * of["mean"] / of["standard_error"] if of["standard_error"] else 0.0 for of in contributions]
    if len(scores) < 2:
        return True
    from scipy import stats

    error = statistics.stdev(scores) / math.sqrt(len(scores))
    return statistics.mean(scores) > float(stats.t.ppf(EPOCH_CONFIDENCE, len(scores) - 1)) * error


def _verdict(
    total: Mapping[str, Any],
    contributions: Sequence[Mapping[str, Any]],
    loss: float,
    least_epochs: int,
    small_effect: float,
) -> Verdict:
    mean, half = total["mean"], half_width(total)
    if half is None or len(contributions) < least_epochs:
        return Verdict(TOO_FEW_ROWS, mean, half)
    if abs(mean) > half:
        words, sign = (HELPED, 1) if mean > 0 else (HURT, -1)
        is_clear = abs(mean) >= small_effect * loss and epochs_agree(contributions, sign)
        return Verdict(words if is_clear else NO_EFFECT, mean, half)
    is_small = abs(mean) + half <= SMALL_EFFECT * loss
    return Verdict(NO_EFFECT if is_small else TOO_FEW_ROWS, mean, half)
