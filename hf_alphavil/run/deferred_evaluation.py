"""Evaluations that are due inside a plan, when there is no merged model."""

from __future__ import annotations

import logging

from transformers import TrainerControl, TrainingArguments
from transformers.trainer_utils import SaveStrategy

logger = logging.getLogger(__name__)


class DeferredEvaluation:
    """
    Defers an evaluation that is due inside a plan to the plan's last step.

    Attributes:
        pending (`bool`): Whether an evaluation is deferred; part of a checkpoint.
    """

    def __init__(self) -> None:
        self.pending = False
        self._warned = False

    def settle(self, control: TrainerControl, args: TrainingArguments, is_forking: bool, is_saved: bool) -> None:
        """
        Adjusts Trainer's flags after all callbacks have set them.

        Args:
            control (`TrainerControl`): The flags.
            args (`TrainingArguments`): The settings.
            is_forking (`bool`): Whether a plan of forks has begun and is not merged yet.
            is_saved (`bool`): Whether this step's checkpoint has been written already.
        """
        if is_forking:
            if control.should_evaluate:
                control.should_evaluate = False
                self.pending = True
                if not self._warned:
                    self._warned = True
                    logger.warning(
                        "An evaluation was due inside an epoch's plan. Only merged parameters are evaluated, so it is "
                        "deferred to the plan's last step (this warning appears once; `eval_strategy='epoch'` avoids "
                        "it)."
                    )
            # After a stop, Trainer also runs its end-of-epoch actions at this step; `is_saved` avoids a second save.
            if control.should_training_stop and args.save_strategy != SaveStrategy.NO and not is_saved:
                control.should_save = True
        elif self.pending:
            self.pending = False
            control.should_evaluate = True
            if args.load_best_model_at_end:
                control.should_save = True
