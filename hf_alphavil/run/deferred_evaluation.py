"""Evaluation and saving that fall due inside a plan, where no merged model exists."""

from __future__ import annotations

import logging

from transformers import TrainerControl, TrainingArguments
from transformers.trainer_utils import SaveStrategy

logger = logging.getLogger(__name__)


class DeferredEvaluation:
    """Holds an evaluation that was asked for inside a plan to the plan's last step."""

    def __init__(self) -> None:
        #: Whether one is held; part of a checkpoint.
        self.pending = False
        self._warned = False

    def settle(self, control: TrainerControl, args: TrainingArguments, in_plan: bool, is_saved: bool) -> None:
        """
        Changes Trainer's flags, after all callbacks have spoken.

        Args:
            control (`TrainerControl`): The flags.
            args (`TrainingArguments`): The settings.
            in_plan (`bool`): Whether a plan of forks has begun and is not merged yet.
            is_saved (`bool`): Whether a checkpoint of this step is written already.
        """
        if in_plan:
            if control.should_evaluate:
                control.should_evaluate = False
                self.pending = True
                if not self._warned:
                    self._warned = True
                    logger.warning(
                        "An evaluation was due inside an epoch's plan. Only merged parameters are evaluated: it is "
                        "held to the plan's last step (this is said once; `eval_strategy='epoch'` avoids it)."
                    )
            # Trainer takes the stop for the epoch's end and asks once more, at the same step.
            if control.should_training_stop and args.save_strategy != SaveStrategy.NO and not is_saved:
                control.should_save = True
        elif self.pending:
            self.pending = False
            control.should_evaluate = True
            if args.load_best_model_at_end:
                control.should_save = True
