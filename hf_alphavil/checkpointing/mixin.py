"""The part of the trainer that saves checkpoints and resumes from them, so that a run can stop at any step."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from transformers import Trainer
from transformers.trainer import SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..distributed.agreement import raise_together, require_equal_ranks
from ..distributed.fsdp import is_sharded, save_sharded_model
from ..distributed.timeout import explained_waits
from ..modeling import MultitaskModel, merge_adapters, unwrap_peft
from ..trainer_hooks import multitask_hook, temporarily
from .environment import describe_environment
from .fingerprint import run_fingerprint
from .folder import find_checkpoint, intact_checkpoints, rotate, write_manifest
from .optimizer_description import check_optimizer, describe_groups, describe_optimizer
from .own_code import describe_own_code
from .rank_agreement import check_ranks
from .resume_rules import check_resume
from .run_dir import own_run_dir, saves_checkpoints
from .run_state import load_run_state, load_run_tensors, save_run_state
from .shared_files import SharedFiles
from .staging import STAGING_NAME, clear_staging, move_files, move_into_place

logger = logging.getLogger(__name__)


class CheckpointingMixin(Trainer):
    """
    A `transformers.Trainer` whose checkpoints, in multitask mode, are atomic and hold merged parameters.

    [`MultitaskTrainer`] sets `runner`, whose state this class saves and loads, and empties `saved_steps` when a run
    begins. This class appends the step of every checkpoint that it writes to `saved_steps`.
    """

    runner: Any
    accelerator: Any
    args: Any
    model: Any
    task_setup: Any
    _follow_settings: Any
    follow_step_settings: Any
    optimizer: Any
    lr_scheduler: Any

    # Class attributes, because Trainer.__init__ reads them.
    is_multitask: bool = False
    saved_steps: list[int]
    _shared_files: SharedFiles
    _runner: Any = None
    _is_staging: bool = False
    _fingerprint: dict[str, Any] | None = None
    _group_options: list[dict[str, Any]]
    _staging_name: str = f"{STAGING_NAME}/run"

    @multitask_hook
    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """
        Trains the model, as `Trainer.train` does. In multitask mode, a checkpoint's files are checked before anything
        is loaded.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint folder, or `True` for the latest one in `output_dir`. Multitask mode also takes `"auto"`:
                the latest one in `output_dir` that the run can resume from. If there is none, training starts from
                scratch.
            trial (`optuna.Trial` or `dict`, *optional*): The trial of a hyper-parameter search.
            ignore_keys_for_eval (`list[str]`, *optional*): Outputs of the model that evaluations ignore.

        Raises:
            ValueError: If ranks disagree, if another run is writing to `output_dir`, if the checkpoint is corrupt (the
                message gives the file), or if its run had different settings.
            TimeoutError: If this process has waited for another one for longer than `ddp_timeout`.
            ConnectionError: If another process has ended.
            DivergenceError: If losses became NaN or infinite and no finite model is left.
        """
        self._fingerprint = None
        with explained_waits(self.args, lambda: self.state.global_step):
            if self.args.world_size > 1:
                self._check_ranks(resume_from_checkpoint)
            with own_run_dir(self.accelerator, self.args, self._get_output_dir(trial)) as self._staging_name:
                setup_before = self.task_setup
                self._follow_settings()  # the rows are compared
                self.follow_step_settings()
                if self.task_setup is not setup_before:
                    self._fingerprint = None
                if resume_from_checkpoint:
                    resume_from_checkpoint = self._checked_checkpoint(resume_from_checkpoint)
                if trial is not None:  # its settings are not in place yet
                    self._fingerprint = None
                elif self.args.should_save and saves_checkpoints(self.args):
                    self._run_fingerprint()  # before callbacks and steps change anything
                # A run that resumes has been evaluated at its start; early stopping would count it again.
                at_start = self.args.eval_on_start and not resume_from_checkpoint
                with temporarily(self.args, eval_on_start=at_start):
                    return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _check_ranks(self, resume_from_checkpoint: str | bool | None) -> None:
        check_ranks(
            self.accelerator,
            self.args,
            self._run_fingerprint(),
            self.accelerator.unwrap_model(self.model),
            self._parts(),
            self.callback_handler.callbacks,
            resume_from_checkpoint,
        )

    def _parts(self) -> dict[str, Any]:
        """What the user may have passed besides settings, rows and a model, by name."""
        parts = {"processing_class": self.processing_class, "compute_loss_func": self.compute_loss_func}
        parts |= {"preprocess_logits_for_metrics": self.preprocess_logits_for_metrics, "model_init": self.model_init}
        collators = getattr(self.data_collator, "collators", {"all tasks": self.data_collator})
        parts |= {f"collator of {name}": collator for name, collator in collators.items()}
        return parts | {f"metrics of {name}": metric for name, metric in self.task_setup.metrics.items()}

    def check_optimizer_of_ranks(self) -> None:
        """
        Compares the optimizers of all ranks, which the user may have made. All ranks must call it.

        Raises:
            ValueError: On all ranks, if they differ.
        """
        if self.args.world_size > 1:
            require_equal_ranks(self._optimizer_description())

    def _checked_checkpoint(self, wanted: str | bool) -> str | None:
        """The checkpoint to resume from, or `None`. One process per machine reads and checks its files."""
        found = problem = None
        if self.accelerator.is_local_main_process:
            try:
                found = find_checkpoint(wanted, self.args.output_dir)
                if found is not None and self.accelerator.is_main_process:
                    theirs = load_run_state(found)["fingerprint"]
                    restores = self.args.restore_callback_states_from_checkpoint
                    check_resume(found, theirs, self._run_fingerprint(), restores)
            except (ValueError, OSError) as error:
                problem = str(error)
        # All ranks take the result of the first one, so that they cannot resume from different checkpoints.
        (path,) = broadcast_object_list([found])
        if problem is None and path is not None and not Path(path).is_dir():
            problem = (
                f"rank {self.args.process_index} has no folder {path}, from which rank 0 resumes: copy it to every "
                "machine, or put `output_dir` on a disk that they share"
            )
        raise_together(problem)
        return path

    def _run_fingerprint(self) -> dict[str, Any]:
        if self._fingerprint is None:
            model = self.accelerator.unwrap_model(self.model)
            fingerprint = run_fingerprint(self.args, self.task_setup, model, self.processing_class)
            fingerprint["code"] = describe_own_code(self, model)
            self._fingerprint = fingerprint | {"environment": describe_environment(self.accelerator)}
        return self._fingerprint

    @contextlib.contextmanager
    def merged_parameters(self) -> Iterator[None]:
        """Puts the last merged parameters (inside a plan with forks: θ0) into the model for a `with` block."""
        has_run = self.is_multitask and self._runner is not None
        with self.runner.state.deltas.start_in_model() if has_run else contextlib.nullcontext():
            yield

    @multitask_hook
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """
        Saves the model with the last merged parameters. Between a fork and the next merge, these are θ0.

        A model that FSDP2 has sharded is gathered and saved in full, except in a run's checkpoints, which hold its
        shards.

        Args:
            output_dir (`str`, *optional*): Folder to write to. Defaults to `args.output_dir`.
        """
        if not (_internal_call and self._is_staging) or is_sharded(self.model):
            self._save_merged_model(output_dir, _internal_call)
            return
        folder, version = Path(str(output_dir)), self.runner.state.start_version
        if not self.args.should_save or version is None or not self._shared_files.link("model", version, folder):
            # Into a separate folder, because other processes write to the checkpoint's folder at the same time.
            own = folder.parent / "model" / folder.name
            self._save_merged_model(str(own), _internal_call)
            if self.args.should_save:
                self._shared_files.written("model", version, move_files(own, folder))

    def _save_merged_model(self, output_dir: str | None, _internal_call: bool) -> None:
        with self.merged_parameters():
            if is_sharded(self.model) and not (_internal_call and output_dir is not None):
                # Trainer saves nothing here if FSDP's state dicts are sharded.
                self._save(output_dir, state_dict=self.accelerator.get_state_dict(self.model))
            super().save_model(output_dir, _internal_call)
        bare = self.accelerator.unwrap_model(self.model)
        inside = unwrap_peft(bare)
        if inside is not bare and isinstance(inside, MultitaskModel) and self.args.should_save:
            # An adapter's own files do not say which labels its heads have.
            inside.config.save_pretrained(output_dir or self.args.output_dir)

    @multitask_hook
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with temporarily(self.args, hub_token=None):  # `training_args.bin` holds the arguments
            super()._save(output_dir, state_dict)

    def export_task(self, name: str, path: str | Path) -> None:
        """
        Exports one task of a [`MultitaskModel`], with adapters merged, to a folder that the task's Auto class loads.

        All processes must call it.

        Args:
            name (`str`): The task's name.
            path (`str` or `Path`): Folder to write to.
        """
        with self.merged_parameters():
            state_dict = self.accelerator.get_state_dict(self.model) if is_sharded(self.model) else None
            if self.is_world_process_zero():
                model = merge_adapters(self.accelerator.unwrap_model(self.model))
                model.export_task(name, path, processing_class=self.processing_class, state_dict=state_dict)

    @multitask_hook
    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, self._staging_name) if self._is_staging else folder

    @multitask_hook
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves Trainer's checkpoint atomically: to the staging folder, then, with a manifest, to its final path."""
        self.runner.require_finite()
        run_dir = Path(self._get_output_dir(trial))
        staging = run_dir / self._staging_name
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            clear_staging(run_dir, self._staging_name)
        self.accelerator.wait_for_everyone()
        best_before = self.state.best_model_checkpoint
        if not self.saved_steps:
            self._shared_files = SharedFiles()
        self._shared_files.begin()
        try:
            self._is_staging = True
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._is_staging = False
            self.state.best_model_checkpoint = self._best_checkpoint(run_dir, name, best_before)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                # Trainer has already written this file, but it looked for the best checkpoint in the staging folder.
                self.state.save_to_json(str(staging / name / TRAINER_STATE_NAME))
                write_manifest(staging / name, self._shared_files.last)
                move_into_place(staging / name, run_dir / name)
        except BaseException:
            self.state.best_model_checkpoint = best_before
            if self.args.should_save:
                clear_staging(run_dir, self._staging_name)
                last = next(intact_checkpoints(run_dir), None)
                logger.error(
                    "%s could not be written, and its partial files were removed; the latest intact checkpoint is %s",
                    name,
                    last,
                )
            raise
        self.saved_steps.append(self.state.global_step)
        self._shared_files.complete(run_dir / name)
        if self.args.should_save:
            clear_staging(run_dir, self._staging_name)
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(run_dir / name))
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            rotate(run_dir, self.args.save_total_limit, [run_dir / name, *([best] if best is not None else [])])
        self.accelerator.wait_for_everyone()

    @multitask_hook
    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The push runs in the background, so it must not start on a folder that is about to be moved.
        if not self._is_staging:
            super()._push_from_checkpoint(checkpoint_folder)

    def _best_checkpoint(self, run_dir: Path, name: str, before: str | None) -> str | None:
        """The folder of the best step if this run has written it or is writing it, else the previous best."""
        best = f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
        is_written = self.state.best_global_step in self.saved_steps and (run_dir / best).is_dir()
        return str(run_dir / best) if best == name or is_written else before

    @property
    def _shard(self) -> tuple[int, int] | None:
        """Process index and number of processes, or `None` if all processes hold the same state."""
        return (self.args.process_index, self.args.world_size) if self.runner.state.differs_by_process else None

    @multitask_hook
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if is_sharded(self.model):
            # Trainer would save the model and the optimizer here, but an optimizer in its format cannot be loaded
            # while some heads have no state yet. So the optimizer's shards are part of the run's state.
            with self.merged_parameters():
                self.runner.state.synchronise_buffers()  # each buffer is saved by one process, not always the first
                save_sharded_model(self.accelerator, self.model, output_dir)
            if self.args.should_save:
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)
        else:
            super()._save_optimizer_and_scheduler(output_dir)
        tensors, state = self.runner.state.state_dict()
        if self.args.should_save:
            state |= {"fingerprint": self._run_fingerprint(), "optimizer": self._optimizer_description()}
        if self.args.should_save or self._shard is not None:
            versions = self.runner.state.part_versions
            save_run_state(output_dir, tensors, state, self._shard, versions, self._shared_files)

    def take_optimizer(self) -> None:
        """
        Gives the run its optimizer and schedule, whoever has made them, and notes for checkpoints which options the
        optimizer has before the first step. Called when both exist, and before a checkpoint's state is loaded.
        """
        self.runner.attach(self.optimizer, self.lr_scheduler)
        self._group_options = describe_groups(self.optimizer)

    def _optimizer_description(self) -> dict[str, Any]:
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # without accelerate's wrapper
        described = describe_optimizer(optimizer, self.lr_scheduler, self.model)
        return described | {"options by group": self._group_options}

    @multitask_hook
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        self.take_optimizer()
        check_optimizer(load_run_state(checkpoint)["optimizer"], self._optimizer_description())
        super()._load_optimizer_and_scheduler(checkpoint)
        if is_sharded(self.model):
            # Trainer does not load the schedule if there is no optimizer file.
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))
            for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
                group["lr"] = rate
        self.runner.state.load_tensors(load_run_tensors(checkpoint, self._shard), load_run_state(checkpoint))
