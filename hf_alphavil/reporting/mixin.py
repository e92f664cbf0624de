"""The part of the trainer that writes the model card."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..setup.task_setup import TaskSetup
from ..trainer_hooks import multitask_hook
from .card import write_run_card

logger = logging.getLogger(__name__)


class ReportingMixin(Trainer):
    """
    A `transformers.Trainer` whose model card, in multitask mode, shows tasks, weights and how honest the scores are.

    [`MultitaskTrainer`] sets `task_setup` and `history`.
    """

    args: Any
    accelerator: Any
    task_setup: TaskSetup
    history: list[dict[str, Any]]

    @multitask_hook
    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """
        Writes Trainer's card, or one that shows the tasks, their weights and how honest the scores are.

        Args:
            language (`str`, *optional*): The language, as an ISO 639 code.
            license (`str`, *optional*): The model's license, as a license id of the Hub.
            tags (`str` or `list[str]`, *optional*): Tags that the card has besides its own.
            model_name (`str`, *optional*): Defaults to the output folder's name.
            finetuned_from (`str`, *optional*): The encoder. Defaults to the one that the model was built from.
            tasks, dataset_tags, dataset, dataset_args (`str` or `list[str]`, *optional*):
                Only in plain mode. In multitask mode the card lists the run's own tasks, with a warning.
        """
        if not self.is_world_process_zero():
            return
        ignored = {"tasks": tasks, "dataset_tags": dataset_tags, "dataset": dataset, "dataset_args": dataset_args}
        if given := [name for name, value in ignored.items() if value is not None]:
            logger.warning("The card lists the run's own tasks and datasets, so %s has no effect", ", ".join(given))
        card = Path(str(self.args.output_dir)) / "README.md"
        if self.state.global_step == 0 and card.is_file():
            logger.warning("%s is kept: this trainer has not trained, so a new card would show less", card)
            return
        write_run_card(
            self.args,
            self.task_setup,
            self.history,
            self.state.log_history,
            self.state.best_global_step,
            self.accelerator.unwrap_model(self.model),
            model_name,
            language=language,
            license=license,
            tags=[tags] if isinstance(tags, str) else tags or (),
            base_model=finetuned_from,
        )
