"""The part of the trainer that pushes to the Hub."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import HubStrategy, SaveStrategy
from transformers.utils import PushInProgress
from transformers.utils.hub import hf_api

from ..distributed.fsdp import is_sharded
from ..modeling import MultitaskModel, merge_adapters
from ..reporting.card import pushes_target
from ..reporting.mixin import ReportingMixin
from ..reporting.model_card import MULTITASK_FOLDER
from ..trainer_hooks import multitask_hook
from .failures import explained, reason_of, repository_of
from .page import PUSH_FOLDER, copy_reports, link_folder, remove_pushed

logger = logging.getLogger(__name__)


class PublishingMixin(ReportingMixin):
    """
    A `transformers.Trainer` whose repository on the Hub works as it stands.

    Trainer pushes `output_dir`, whose root is the multitask model. In multitask mode, a page is written for each push:
    a folder with the target as an ordinary model in its root and the multitask model beneath, or with the multitask
    model in its root (`hub_export`).
    """

    hub_model_id: str | None  # type: ignore[assignment]
    push_in_progress: PushInProgress | None  # type: ignore[assignment]
    merged_parameters: Callable[[], AbstractContextManager[None]]

    @multitask_hook
    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Creates the repository and the branch `hub_revision` where they are missing, and checks that they can be
        written to.

        Args:
            token (`str`, *optional*): Defaults to `hub_token`.
            private (`bool`, *optional*): Whether a new repository is private. Defaults to `hub_private_repo`.

        Raises:
            HubError: If the repository cannot be written to. The message says why.
        """
        if not self.is_world_process_zero():
            return
        token = token if token is not None else self.args.hub_token
        private = private if private is not None else self.args.hub_private_repo
        name = repository_of(self.args)
        with explained(f"{name} cannot be pushed to", token):
            repository = hf_api().create_repo(name, token=token, private=private, exist_ok=True).repo_id
            hf_api().auth_check(repository, token=token, write=True)
            if self.args.hub_revision is not None:
                hf_api().create_branch(repository, branch=self.args.hub_revision, token=token, exist_ok=True)
        self.hub_model_id = repository
        self.push_in_progress = None

    @multitask_hook
    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Pushes the model, its card and the run's reports to the Hub. All processes must call it.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): The message of the commit.
            blocking (`bool`, *optional*, defaults to `True`): Whether to wait until everything is uploaded.
            token (`str`, *optional*): Defaults to `hub_token`.
            revision (`str`, *optional*): The branch. Defaults to `hub_revision`.
            private (`bool`, *optional*): Whether a new repository is private. Defaults to `hub_private_repo`.
            kwargs (`Any`): Arguments of [`create_model_card`].

        Returns:
            `CommitInfo` or `Future`: The commit, or with `blocking=False` the upload; `None` on other processes.

        Raises:
            HubError: If the push fails. The message says why, and how to push later what was saved.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = token if token is not None else self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self._finish_current_push()
        self.save_model(_internal_call=True)
        page = self._write_page(**kwargs)
        if page is None:
            return None
        upload = partial(self._upload, page, commit_message, token=token, revision=revision)
        if not blocking:
            return upload(run_as_future=True)
        command = ["hf", "upload", str(self.hub_model_id), str(page), "."]
        if (branch := revision or self.args.hub_revision) is not None:
            command += ["--revision", branch]
        later = f". Everything is saved in {self.args.output_dir}; to push it later: {shlex.join(command)}"
        with explained(f"the push to {self.hub_model_id} failed", token, later):
            pushed = upload()
        remove_pushed(page)
        return pushed

    @multitask_hook
    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        args = self.args
        is_due = args.hub_strategy != HubStrategy.END
        running = getattr(self, "push_in_progress", None)  # of the first process
        if is_due and running is not None and not running.is_done():
            is_due = args.hub_always_push
        (is_due,) = broadcast_object_list([is_due])
        if not is_due:
            return
        self.callback_handler.on_push_begin(args, self.state, self.control)
        page = self._write_page()
        if page is None:
            return
        message = f"Training in progress, epoch {int(self.state.epoch or 0)}"
        if args.save_strategy == SaveStrategy.STEPS:
            message = f"Training in progress, step {self.state.global_step}"
        jobs: Any = [self._upload(page, message, run_as_future=True)]
        if args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            checkpoint = Path(checkpoint_folder)
            name = "last-checkpoint" if args.hub_strategy == HubStrategy.CHECKPOINT else checkpoint.name
            copied = link_folder(checkpoint, page.parent / checkpoint.name)
            jobs.append(
                self._upload(
                    copied, f"{message}, checkpoint", path_in_repo=name, delete_patterns="*", run_as_future=True
                )
            )
        if running is None or running.is_done():
            self.push_in_progress = PushInProgress(jobs)
        else:
            running.jobs.extend(jobs)

    def _upload(
        self,
        folder: Path,
        message: str | None,
        token: str | None = None,
        revision: str | None = None,
        run_as_future: bool = False,
        **options: Any,
    ) -> Any:
        api: Any = hf_api()  # overloaded by the value of `run_as_future`
        result = api.upload_folder(
            repo_id=self.hub_model_id,
            folder_path=folder,
            commit_message=message,
            token=token if token is not None else self.args.hub_token,
            revision=revision if revision is not None else self.args.hub_revision,
            run_as_future=run_as_future,
            **options,
        )
        if run_as_future:
            result.add_done_callback(partial(_end_push, folder, self.hub_model_id))
        return result

    def _write_page(self, **card: Any) -> Path | None:
        """Writes the files of a push to a new folder. All processes must call it; the first one gets the folder."""
        with self.merged_parameters():
            sharded: Any = self.model
            state_dict = self.accelerator.get_state_dict(sharded) if is_sharded(sharded) else None
            if not self.is_world_process_zero():
                return None
            run_dir = Path(str(self.args.output_dir))
            page = run_dir / PUSH_FOLDER / f"page-{self.state.global_step}"
            shutil.rmtree(page, ignore_errors=True)
            model = merge_adapters(self.accelerator.unwrap_model(self.model))
            whole = page
            if pushes_target(self.args, model):
                target = self.task_setup.target
                model.export_task(target, page, processing_class=self.processing_class, state_dict=state_dict)
                whole = page / MULTITASK_FOLDER
            if isinstance(model, MultitaskModel):
                model.save_pretrained(whole, state_dict=state_dict)
                if self.processing_class is not None:
                    self.processing_class.save_pretrained(whole)
            else:
                self._save(str(whole), state_dict=state_dict)
                os.remove(whole / TRAINING_ARGS_NAME)  # it names places on this machine
        model_name = card.pop("model_name", None) or str(self.hub_model_id).split("/")[-1]
        if tags := getattr(self.accelerator.unwrap_model(self.model), "model_tags", None):
            given = card.get("tags") or []
            card["tags"] = list(dict.fromkeys([*([given] if isinstance(given, str) else given), *tags]))
        self.create_model_card(model_name=model_name, **card)
        self._take_out_examples()  # rows of `report.html` may be private
        copy_reports(run_dir, page)
        return page


def _end_push(folder: Path, repository: str | None, job: Future[Any]) -> None:
    if (error := job.exception()) is not None:
        logger.warning(
            "A push to %s during training failed: %s. Training goes on, and the next push holds what this one lacks.",
            repository,
            reason_of(error),
        )
    remove_pushed(folder)
