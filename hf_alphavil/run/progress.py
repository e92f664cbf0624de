"""Progress bars that also show the running phase and α step."""

from __future__ import annotations

from transformers import ProgressCallback


class PlanProgress:
    """What a progress bar of plans can do."""

    def show(self, text: str) -> None:
        """
        Shows a short text beside the bar.

        Args:
            text (`str`): For example `rte 3/16` or `α 4/10`.
        """
        raise NotImplementedError


class PlanProgressCallback(PlanProgress, ProgressCallback):
    """Trainer's progress bar, with a text behind it."""

    def show(self, text: str) -> None:
        if self.training_bar is not None:
            self.training_bar.set_postfix_str(text, refresh=text.startswith("α"))
