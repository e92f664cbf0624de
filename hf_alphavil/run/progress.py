"""Progress bars that also show the running phase and α step."""

from __future__ import annotations

from transformers import ProgressCallback

from ..methods.alpha_optimizers import ALPHA_OPTIMIZERS, alpha_optimizer_of
from ..settings import MultitaskSettings


def alpha_progress(args: MultitaskSettings, step: int) -> str:
    """
    What a progress bar shows of the α step: `α 4/10`, or `α 4` where it may end earlier.

    Args:
        args (`MultitaskSettings`): The settings.
        step (`int`): The finished step on α, from 1.
    """
    ends_early = args.alpha_tolerance > 0 or ALPHA_OPTIMIZERS[alpha_optimizer_of(args)].ends_early
    return f"α {step}" if ends_early else f"α {step}/{args.alpha_steps}"


class PlanProgress:
    """What a progress bar of plans can do."""

    def show(self, text: str) -> None:
        """
        Shows a short text beside the bar.

        Args:
            text (`str`): For example `rte 3/16`, `α 4/10` or `α 4`.
        """
        raise NotImplementedError


class PlanProgressCallback(PlanProgress, ProgressCallback):
    """Trainer's progress bar, with a text behind it."""

    def show(self, text: str) -> None:
        if self.training_bar is not None:
            self.training_bar.set_postfix_str(text, refresh=text.startswith("α"))
