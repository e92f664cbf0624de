"""`MultitaskTrainer`: wires tasks, plan and method into `transformers.Trainer`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from transformers.trainer_utils import seed_worker

from .checkpointing.mixin import CheckpointingMixin
from .checkpointing.preemption import PreemptionCallback, ignore_sigterm_in_worker
from .data import TaskConcatDataset, TaskDataset, padded_tokens, steps_per_task
from .data.loader import plan_loader
from .distributed.fsdp import configure_fsdp_plugin, enable_fsdp_on_cpus
from .distributed.phase_groups import PhaseGroups, count_groups
from .distributed.refusals import check_sharding
from .distributed.wrapping import mark_unprepared, wrap_for_group
from .evaluation import EvaluationMixin
from .methods import METHODS, Method
from .methods.alphavil_plan import own_steps
from .modeling.compilation import compile_encoder
from .objectives.label_scales import find_label_scales
from .publishing import PublishingMixin
from .run.batches import plan_rows
from .run.callbacks import PlanCallback, progress_of_plans
from .run.loop_mixin import TrainingLoopMixin
from .run.runner import PlanRunner
from .run.step_mixin import TrainingStepMixin
from .search import SearchMixin
from .setup.best_metric import check_best_metric, find_best_metric
from .setup.checks import warn_of_plain_mode
from .setup.collators import make_collator
from .setup.inputs import limit_max_length
from .setup.model_checks import check_model
from .setup.row_checks import check_rows
from .setup.run_context import RunContext
from .setup.task_setup import TaskSetup, make_task_setup, setup_settings
from .setup.trainer_checks import check_model_suits, check_task_settings, settle_arguments
from .trainer_hooks import multitask_hook, shadowable_property, temporarily
from .training_args import MultitaskTrainingArguments

if TYPE_CHECKING:
    from .tasks import Task


class MultitaskTrainer(
    CheckpointingMixin, TrainingLoopMixin, TrainingStepMixin, PublishingMixin, EvaluationMixin, SearchMixin
):
    """
    A `transformers.Trainer` that trains a target task with the help of auxiliary tasks, by αVIL or another method.

    With one plain `train_dataset` and no `tasks` (plain mode) it *is* `transformers.Trainer`. With several tasks, each
    epoch is a plan of phases. Trainer's own loop runs it, so mixed precision, gradient accumulation, clipping, logging
    and checkpoints are Hugging Face's.

    Args:
        model (`PreTrainedModel` or `torch.nn.Module`, *optional*):
            A [`MultitaskModel`], or any module whose `forward(task="name", **inputs)` returns a dict with a `loss` or
            a tuple that starts with it. In a `peft.PeftModel` around either, only trainable parameters have deltas.
        args (`MultitaskTrainingArguments`, *optional*): The settings; plain `TrainingArguments` in plain mode.
        data_collator (`Callable` or `dict[str, Callable]`, *optional*):
            One collator for all tasks, or collators by task. Defaults to the collator of each task's kind.
        train_dataset (`Dataset` or `dict[str, Dataset]`, *optional*):
            Rows by task, target included: tokenised map-style datasets; or raw ones, `datasets.DatasetDict` or
            [`Task`], which `processing_class` tokenises. Others are not trained. Defaults to `tasks`' training rows.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*):
            Validation rows by task, or the target's. Defaults to the validation rows of `tasks` and `DatasetDict`.
        compute_metrics (`Callable` or `dict[str, Callable]`, *optional*):
            One function for all tasks, or functions by task. Defaults to `tasks`' metrics.
        tasks (`dict[str, Task | Dataset | DatasetDict]` or `list[Task]`, *optional*): Tasks, from [`load_tasks`].

    All other arguments are `transformers.Trainer`'s.

    Attributes:
        history (`list[dict]`):
            One entry per finished epoch: `epoch` (from 1), `alpha`, `task_weights` (after the update),
            `task_weights_used` (before it), `meta_loss` (S+1 values; `meta_metric` or `meta_entropy` for those
            objectives), and what the method or a setting adds (docs/methods.md).
        train_datasets (`dict[str, TaskDataset]`): The training rows by task, without the held-out slice.
        meta_set (`TaskDataset`, *optional*): The target's rows on which α is fitted or task weights are measured.
        preempted (`bool`): Whether SIGTERM ended the last `train()`. Only with `enable_jit_checkpoint`.

    Raises:
        ValueError: For a missing target, an empty auxiliary, a held-out slice that is too small, half-precision
            parameters, DeepSpeed, FSDP1, `nn.DataParallel`, or fp16 on a CPU. Raised before training starts.
        TypeError: If the dataset of one of several tasks is iterable-style.
    """

    # Read while Trainer.__init__ runs, and in plain mode.
    task_setup: TaskSetup
    _runner: PlanRunner | None = None

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable | None = None,
        compute_loss_func: Callable | None = None,
        compute_metrics: Any = None,
        callbacks: list | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[Any, dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable | None = None,
        tasks: Mapping[str, Task] | Sequence[Task] | None = None,
    ) -> None:
        self.is_multitask = tasks is not None or isinstance(train_dataset, Mapping)
        if self.is_multitask:
            if not isinstance(args, MultitaskTrainingArguments):
                raise TypeError(
                    f"several tasks need MultitaskTrainingArguments: pass them instead of {type(args).__name__}"
                )
            self.args = args
            limit_max_length(args, model)
            given = {"tasks": tasks, "train_dataset": train_dataset, "eval_dataset": eval_dataset}
            given |= {"processing_class": processing_class, "compute_metrics": compute_metrics}
            given |= {"data_collator": data_collator, "model": model}
            self._make_task_setup: Callable[..., TaskSetup] = partial(make_task_setup, **given)
            self._make_collator = partial(
                make_collator, data_collator=data_collator, processing_class=processing_class
            )
            train_dataset, eval_dataset = self._set_up_tasks()
            data_collator = None if isinstance(data_collator, Mapping) else data_collator
            compute_metrics = None
            check_model_suits(args, model)
        else:
            warn_of_plain_mode(args)
        # A run cannot resume exactly from the checkpoint of Trainer's own callback; see PreemptionCallback.
        with temporarily(args, enable_jit_checkpoint=False) if self.is_multitask else contextlib.nullcontext():
            super().__init__(
                model=model,
                args=args,
                data_collator=data_collator,
                train_dataset=train_dataset,
                eval_dataset=eval_dataset,
                processing_class=processing_class,
                model_init=model_init,
                compute_loss_func=compute_loss_func,
                compute_metrics=compute_metrics,
                callbacks=callbacks,
                optimizers=optimizers,
                optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
                preprocess_logits_for_metrics=preprocess_logits_for_metrics,
            )
        if self.is_multitask:
            self._fit_to_model()
            self.model_accepts_loss_kwargs = False  # a batch's loss is a mean over its rows, not over tokens
            self._connect_callbacks()

    # ---- Set-up

    @multitask_hook
    def create_accelerator_and_postprocess(self) -> None:
        """Creates Trainer's accelerator, lets FSDP2 run on CPUs too, and refuses any other sharding."""
        enable_fsdp_on_cpus(self.args)
        # A step gives a gradient only to its own task's head. By default, Trainer turns this off under gradient
        # checkpointing.
        with temporarily(self.args, ddp_find_unused_parameters=self.args.ddp_find_unused_parameters is not False):
            super().create_accelerator_and_postprocess()
        check_sharding(self.accelerator.state)

    def _set_up_tasks(self) -> tuple[TaskConcatDataset | None, dict[str, TaskDataset] | None]:
        """Makes the tasks' set-up from the arguments alone. Returns the training and validation rows."""
        settle_arguments(self.args)
        self.task_setup = setup = self._make_task_setup(self.args)
        self._check_settings()
        getattr(self, "_eval_dataloaders", {}).clear()  # Trainer's, of workers that stay alive
        trained = list(setup.train_datasets.values())
        return TaskConcatDataset(trained) if trained else None, dict(setup.eval_datasets) or None

    def _follow_settings(self, is_new_model: bool = False) -> None:
        """Sets the tasks up again if settings have changed since."""
        is_changed = setup_settings(self.args) != self.task_setup.settings
        if is_changed:
            self.train_dataset, self.eval_dataset = self._set_up_tasks()
        if is_changed or is_new_model:
            self._fit_to_model()

    def _check_settings(self) -> None:
        args, setup = self.args, self.task_setup
        check_task_settings(args, setup)
        args.derive(**find_best_metric(args, setup)._asdict())

    def _fit_to_model(self) -> None:
        """Does the part of the set-up that needs the model."""
        model, setup = self._checked_model(), self.task_setup
        self.run_dir = Path(str(self.args.output_dir))
        self.data_collator = self._make_collator(self.args, model=model, setup=setup, has_own_loss=self.has_own_loss)
        self.label_names = self.label_names or ["labels"]
        check_best_metric(self.args, setup)
        check_rows(self.args, setup, self.data_collator, model, self.processing_class)

    def _checked_model(self) -> nn.Module:
        """Checks the model and its heads, and returns the bare model without adapters."""
        model = check_model(self.model, self.accelerator, self.args, self.scaled_loss)
        self.task_setup = self.task_setup.with_heads_of(model)
        return model

    def _connect_callbacks(self) -> None:
        callbacks = self.callback_handler.callbacks
        callbacks.insert(0, PlanCallback(lambda: self.runner, self.log, callbacks, self._must_stop_now))
        if self.args.enable_jit_checkpoint:
            self._preemption = PreemptionCallback(
                gather=lambda flag: self.accelerator.gather(flag),
                agreement_is_due=self._preemption_is_agreed_now,
                is_inside_epoch=lambda: self.runner.state.step > 0,
            )
            self.add_callback(self._preemption)
        callbacks[:] = map(progress_of_plans, callbacks)

    @shadowable_property
    def train_datasets(self) -> Mapping[str, TaskDataset]:
        """`Mapping[str, TaskDataset]`: The training rows by task, without the held-out slice."""
        return self.task_setup.train_datasets

    @shadowable_property
    def meta_set(self) -> TaskDataset | None:
        """`TaskDataset`, *optional*: The target's rows on which α is fitted or task weights are measured."""
        return self.task_setup.meta_set

    @shadowable_property
    def history(self) -> list[dict[str, Any]]:
        """`list[dict]`: One entry per finished epoch: α, task weights, meta loss and more."""
        return self._runner.state.history if self._runner is not None else []

    # ---- The run of a `train()` call

    @shadowable_property
    def runner(self) -> PlanRunner:
        """`PlanRunner`: The runner of the current (or next) `train()` call."""
        if self._runner is None:
            self._runner = self._new_runner()
        return self._runner

    def _new_runner(self) -> PlanRunner:
        args, datasets = self.args, self.task_setup.train_datasets
        num_rows = {name: len(dataset) for name, dataset in datasets.items()}
        steps = steps_per_task(num_rows, self.global_batch_size, args.delta_fraction, args.max_phase_steps)
        sizes: dict[str, float] = dict(own_steps(args, steps))
        if self._num_groups > 1:
            # A phase's cost is its tokens. Reading rows may be random, so all processes use the first one's counts.
            for name, dataset in datasets.items():
                sizes[name] *= padded_tokens(dataset, self._train_batch_size, self.task_setup.lengths.of(dataset))
            (sizes,) = broadcast_object_list([sizes])
        groups = PhaseGroups(self._num_groups, sizes, args.process_index, args.world_size)
        return PlanRunner(self._run_context(), self._new_method(num_rows), groups, steps)

    def _new_method(self, tasks: Iterable[str]) -> Method:
        return METHODS[self.args.method](self.args, list(tasks))

    def _run_context(self) -> RunContext:
        args, setup, model, accelerator = self.args, self.task_setup, self.model, self.accelerator
        return RunContext(
            args=args,
            accelerator=accelerator,
            model=model,
            setup=setup,
            collate=self.data_collator,
            prepare_inputs=self._prepare_inputs,
            training_loss=self._training_loss,
            preprocess_logits=self.preprocess_logits_for_metrics,
            batch_size=self._train_batch_size,
            global_batch_size=self.global_batch_size,
            label_names=self.label_names,
            folder=self.run_dir,
            scales=find_label_scales(args, setup, model, accelerator, self.data_collator, self.has_own_loss),
            has_own_loss=self.has_own_loss,
        )

    @shadowable_property
    def global_batch_size(self) -> int:
        """`int`: Rows per optimizer step of a task: per-device batch × accumulation steps × processes per group."""
        processes_per_group = self.args.world_size // self._num_groups
        return self._train_batch_size * self.args.gradient_accumulation_steps * processes_per_group

    @multitask_hook
    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """`int`: Rows per optimizer step; in multitask mode [`global_batch_size`]."""
        return self.global_batch_size

    @property
    def _num_groups(self) -> int:
        forks_by_task = METHODS[self.args.method].forks_by_task
        return count_groups(self.args, forks_by_task, len(self.task_setup.train_datasets), self.accelerator)

    # ---- Trainer's loop

    @multitask_hook
    def get_train_dataloader(self) -> DataLoader:
        """Trainer's loader. In multitask mode it covers all tasks, in the order of the current epoch's plan."""
        if self.train_dataset is None:
            return super().get_train_dataloader()
        args = self.args
        start: Any = partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index)
        if args.enable_jit_checkpoint:
            start = partial(ignore_sigterm_in_worker, initialise=start)
        rows, sampler = plan_rows(self.runner)
        return self.accelerator.prepare(plan_loader(rows, sampler, self.data_collator, start, args))

    @multitask_hook
    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: DataLoader | None = None) -> nn.Module:
        compile_encoder(self.accelerator.unwrap_model(self.model), self.args, self.accelerator)
        if training and model is self.model and self.args.world_size > 1 and not self.is_fsdp_enabled:
            mark_unprepared(model)
            if self.runner.groups.is_parallel:
                # Groups train different tasks, so token counts must not be averaged across them.
                self.args.average_tokens_across_devices = False
                return wrap_for_group(model, self.runner.groups, self.accelerator, self.args.ddp_timeout_delta)
        return super()._wrap_model(model, training, dataloader)

    @multitask_hook
    def _inner_training_loop(
        self,
        batch_size: int | None = None,
        args: Any = None,
        resume_from_checkpoint: str | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Trainer's loop with a new runner, because batch-size and hyper-parameter search call it repeatedly."""
        settle_arguments(self.args)
        self._follow_settings(is_new_model=trial is not None)
        self._check_settings()
        self._checked_model()
        if self.args.auto_find_batch_size and batch_size is not None:
            self._train_batch_size = batch_size
        configure_fsdp_plugin(self.accelerator, self.model)
        self._runner = None
        if not self.is_fsdp_enabled:
            self.model_wrapped = self.model  # wrap again in each run: process groups may have changed
        self.run_dir = Path(self._get_output_dir(trial))
        self.saved_steps = []
        try:
            return super()._inner_training_loop(batch_size, args, resume_from_checkpoint, trial, ignore_keys_for_eval)
        finally:
            if self._runner is not None:
                self._runner.abandon()
            if self._preemption is not None:
                self._preemption.restore_handler()
