"""Verdicts: which tasks helped the target, as far as its held-out rows can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .history import HistoryEntry, kept_entry

HELPED, HURT, NO_EFFECT, TOO_FEW_ROWS = "helped", "hurt", "no clear effect", "too few rows to tell"
#: Coverage of the interval of a contribution.
CONFIDENCE = 0.95
#: An effect that is not clear is called small if its whole interval is within this fraction of the held-out loss.
SMALL_EFFECT = 0.05
VERDICTS_IN_WORDS = (
    "*Held-out loss saved* is the target's loss without the task's updates minus its loss with them, on the rows on "
    f"which α was fitted. It is summed over the epochs and has its {CONFIDENCE:.0%} interval over rows. *helped* and "
    "*hurt*: the interval is on one side of 0. If it includes 0, there is *no clear effect* as long as it is within "
    f"{SMALL_EFFECT:.0%} of the loss; otherwise there are *too few rows to tell*."
)


@dataclass(frozen=True)
class Verdict:
    """
    What a task's deltas did for the target, up to the kept model's epoch.

    The rule is ours. The contribution is the sum over epochs of the target's held-out loss without the task's delta,
    minus the loss with it. Its interval is Student's t over the rows. *helped* and *hurt*: the interval is on one side
    of 0. *no clear effect*: it includes 0 and is within ± `SMALL_EFFECT` of the held-out loss. *too few rows to tell*:
    it includes 0 and is wider, or its width is not known.

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
        """`str`: The contribution and half of its interval, such as `+0.120 ± 0.031`."""
        return f"{self.contribution:+.3f}" + ("" if self.half_width is None else f" ± {self.half_width:.3f}")


def verdicts(history: Sequence[HistoryEntry]) -> dict[str, Verdict]:
    """
    The verdicts on the tasks of a run.

    Args:
        history (`Sequence[dict]`): The history of a run.

    Returns:
        `dict[str, Verdict]`: By task, the target included; empty if no contribution was measured.
    """
    entry = kept_entry(history)
    totals = entry.get("total_contribution", {})
    return {task: _verdict(total, entry["held_out_loss"]) for task, total in totals.items()}


def _verdict(total: Mapping[str, Any], loss: float) -> Verdict:
    mean, error = total["mean"], total["standard_error"]
    if error is None or not math.isfinite(error):  # `read_history` gives NaN for None
        return Verdict(TOO_FEW_ROWS, mean, None)
    from scipy import stats  # takes half a second to import

    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, total["rows"] - 1)) * error
    if abs(mean) > half_width:
        return Verdict(HELPED if mean > 0 else HURT, mean, half_width)
    is_small = abs(mean) + half_width <= SMALL_EFFECT * loss
    return Verdict(NO_EFFECT if is_small else TOO_FEW_ROWS, mean, half_width)
