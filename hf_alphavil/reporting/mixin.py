"""The part of the trainer that writes the model card and the page of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..setup.task_setup import TaskSetup
from ..tasks.examples import example_rows
from ..trainer_hooks import multitask_hook
from .card import root_of_card, run_facts, write_run_card
from .facts import RunFacts, write_facts
from .history import write_history
from .page import PAGE_FILE, WITHOUT_PLOTLY, can_write_page
from .run_files import EXAMPLES_FILE, read_run_files, write_examples, write_page_of

logger = logging.getLogger(__name__)

#: Example rows of each task on the page.
NUM_EXAMPLES = 3


class ReportingMixin(Trainer):
    """
    A `transformers.Trainer` whose model card, in multitask mode, shows tasks, weights and how honest the scores are.

    [`MultitaskTrainer`] sets `is_multitask`, `task_setup` and `history`.
    """

    is_multitask: bool
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
            card.parent,
            self._run_facts(model_name, finetuned_from),
            self.history,
            language=language,
            license=license,
            tags=[tags] if isinstance(tags, str) else tags or (),
            repository=self.hub_model_id,
            revision=self.args.hub_revision,
            template=self.args.model_card_template,
            root=root_of_card(self.args, self.accelerator.unwrap_model(self.model), self.hub_model_id),
        )

    def write_report(self, examples: int = NUM_EXAMPLES) -> Path | None:
        """
        Writes `report.html`, which shows at a glance what the run found, and the files from which `alphavil report`
        makes it again: `alphavil_history.json`, `alphavil_run.json` and `trainer_state.json`.

        Args:
            examples (`int`, *optional*, defaults to 3):
                How many of each task's first training rows the page shows. With `push_to_hub`, none are shown, and
                [`~MultitaskTrainer.push_to_hub`] takes them out of the page, because rows may be private.

        Returns:
            `Path`, *optional*: The page. `None` on other processes than the first, and if Plotly is not installed: a
            warning says how to get it.

        Raises:
            ValueError: In plain mode.
        """
        if not self.is_multitask:
            raise ValueError("write_report() shows tasks, and this trainer has one plain dataset: pass `tasks`")
        if not self.is_world_process_zero():
            return None
        folder = Path(str(self.args.output_dir))
        number = 0 if self.args.push_to_hub else examples
        rows = {name: example_rows(task, number) for name, task in self.task_setup.tasks.items() if number}
        write_history(self.history, folder)
        write_facts(self._run_facts(), folder)
        write_examples(folder, rows)
        self.save_state()
        if not can_write_page():
            logger.warning(WITHOUT_PLOTLY.format(folder=folder))
            return None
        return write_page_of(read_run_files(folder), folder)

    def _take_out_examples(self) -> None:
        folder = Path(str(self.args.output_dir))
        if self.is_world_process_zero() and (folder / EXAMPLES_FILE).is_file():
            write_examples(folder, {})
            (folder / PAGE_FILE).unlink(missing_ok=True)
            if can_write_page():
                write_page_of(read_run_files(folder), folder)

    def _run_facts(self, model_name: str | None = None, base_model: str | None = None) -> RunFacts:
        return run_facts(
            self.args,
            self.task_setup,
            self.history,
            self.state,
            self.accelerator.unwrap_model(self.model),
            model_name,
            base_model,
        )
