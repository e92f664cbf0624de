"""`MultitaskTrainer`: wires tasks, plan and method into `transformers.Trainer`."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from transformers import ProgressCallback, TrainingArguments
from transformers.trainer_utils import seed_worker

from .checkpointing.mixin import CheckpointingMixin
from .checkpointing.preemption import PreemptionCallback, start_worker
from .checkpointing.run_state import load_run_state
from .data import BATCHES_KEY, TASK_KEY, PlanBatchSampler, TaskDataset, padded_tokens, steps_per_task
from .distributed.fsdp import is_sharded, prepare_plugin, shard_on_cpus
from .distributed.phase_groups import PhaseGroups, count_groups, wrap_for_group
from .distributed.refusals import check_adapters, check_setup, check_sharding, check_tied_weights
from .methods import METHODS
from .methods.layer_groups import layer_groups
from .modeling import MultitaskModel, unwrap_peft
from .modeling.compilation import compile_encoder
from .modeling.label_smoothing import smoother_for
from .reporting.card import write_card_of
from .run.callbacks import PlanCallback, PlanProgressCallback, restore_callbacks
from .run.runner import PlanRunner
from .setup.best_metric import choose_best_metric
from .setup.checks import check_heads, check_loss_function, check_method, check_parameters, check_precision
from .setup.collators import make_collator
from .setup.datasets import check_head_tasks, check_target, check_train_datasets, tokenized_split
from .setup.meta_set import split_meta_set
from .setup.shadowable import shadowable_property
from .training_args import MultitaskTrainingArguments

if TYPE_CHECKING:
    from .tasks import Task

logger = logging.getLogger(__name__)


class MultitaskTrainer(CheckpointingMixin):
    """
    A `transformers.Trainer` that trains a target task with the help of auxiliary tasks, by αVIL or another method.

    Given one plain `train_dataset` and no `tasks` it *is* `transformers.Trainer`. Given several tasks, each epoch is a
    plan of phases that Trainer's own loop runs: mixed precision, accumulation, clipping, logging and checkpoints stay
    Hugging Face's.

    Args:
        model (`PreTrainedModel` or `torch.nn.Module`, *optional*):
            A [`MultitaskModel`], or any module whose `forward(task="name", **inputs)` returns a dict with a `loss`, or
            a tuple that starts with it; or either in a `peft.PeftModel`, of which the trainable parameters have δ.
        args (`MultitaskTrainingArguments`, *optional*): The settings; plain `TrainingArguments` in plain mode.
        data_collator (`Callable` or `dict[str, Callable]`, *optional*):
            One collator for all tasks or one by task. Defaults to padding by the tokenizer.
        train_dataset (`Dataset` or `dict[str, Dataset]`, *optional*):
            Tokenised map-style datasets by task, target included. Defaults to `tasks`' training rows.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*):
            Tokenised map-style datasets by task. Defaults to `tasks`' validation rows.
        compute_metrics (`Callable` or `dict[str, Callable]`, *optional*):
            One function for all tasks or one by task. Defaults to `tasks`' metrics.
        tasks (`dict[str, Task]`, *optional*): Tasks by name, from [`load_tasks`].

    All other arguments are `transformers.Trainer`'s.

    Attributes:
        history (`list[dict]`):
            One entry per finished epoch: `epoch` (from 1), `alpha`, `task_weights` (after the update),
            `task_weights_used` (before it), `meta_loss` (S+1 values; of other objectives `meta_metric`,
            `meta_entropy`); with `alpha_granularity="layer"` also `alpha_by_layer`, with `prune_below` also `pruned`;
            and what else a method leaves (docs/methods.md).
        train_datasets (`dict[str, TaskDataset]`): What is trained on, without the held-out slice.
        meta_set (`TaskDataset`, *optional*): What α is fitted on.
        preempted (`bool`): Whether SIGTERM ended the last `train()`, with `enable_jit_checkpoint`.

    Raises:
        ValueError: For a missing target, an empty auxiliary, a held-out slice too small, half-precision parameters,
            DeepSpeed, FSDP1, `nn.DataParallel`, or fp16 on a CPU; before any training.
        TypeError: For an iterable dataset as one of several tasks.
    """

    optimizer: Any

    # Read while Trainer.__init__ runs, as those of EvaluationMixin.
    meta_set: TaskDataset | None = None
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
        tasks: Mapping[str, Task] | None = None,
    ) -> None:
        self.is_multitask = tasks is not None or isinstance(train_dataset, dict)
        if self.is_multitask:
            if not isinstance(args, MultitaskTrainingArguments):
                raise TypeError(
                    f"several tasks need MultitaskTrainingArguments, got {type(args).__name__}: they take all "
                    "fields of TrainingArguments and add `target_task`, `method` and the like"
                )
            check_setup(args)
            self.tasks = dict(tasks) if tasks is not None else None
            train_dataset, eval_dataset = self._prepare_datasets(args, train_dataset, eval_dataset, processing_class)
            user_metrics, compute_metrics = compute_metrics, None
            # Heads of the tasks that a step does not train get no gradient. Trainer turns this off under gradient
            # checkpointing, where it is needed as much.
            if args.ddp_find_unused_parameters is None:
                args.ddp_find_unused_parameters = True
            # Trainer's own callback for it is not exact; see PreemptionCallback.
            saves_on_sigterm, args.enable_jit_checkpoint = args.enable_jit_checkpoint, False
        super().__init__(
            model=model,
            args=args,
            data_collator=None if self.is_multitask and isinstance(data_collator, Mapping) else data_collator,
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
            self.args.enable_jit_checkpoint = saves_on_sigterm
            self._set_up_tasks(data_collator, user_metrics)

    # ---- Set-up

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's accelerator; in multitask mode FSDP2 works on CPUs too, and other sharding is refused."""
        if self.is_multitask:
            shard_on_cpus(self.args)
        super().create_accelerator_and_postprocess()
        if self.is_multitask:
            check_sharding(self.accelerator.state)

    def _prepare_datasets(
        self, args: MultitaskTrainingArguments, train_dataset: Any, eval_dataset: Any, processing_class: Any
    ) -> tuple[Any, Any]:
        """Datasets by task: sets `train_datasets` and `meta_set`; returns what Trainer is to hold."""
        tasks = self.tasks or {}
        check_head_tasks(tasks)
        with_heads = {name: task for name, task in tasks.items() if task.head_task is None}
        if train_dataset is None and any(task.train is not None for task in with_heads.values()):
            train_dataset = tokenized_split(with_heads, "train", processing_class, args)
            for name in with_heads:
                if name not in train_dataset:
                    raise ValueError(f"task {name!r} has no training rows: give it some, or leave it out of the tasks")
        if eval_dataset is None and any(task.validation is not None for task in tasks.values()):
            eval_dataset = tokenized_split(tasks, "validation", processing_class, args)
        names = list(train_dataset if train_dataset is not None else with_heads)
        args.target_task = target = check_target(args, names)
        if eval_dataset is not None and not isinstance(eval_dataset, dict):
            eval_dataset = {target: eval_dataset}
        evaluated = {name: TaskDataset(dataset, self._head_of(name)) for name, dataset in (eval_dataset or {}).items()}
        self.task_names = list(dict.fromkeys([*names, *evaluated, *tasks]))
        self.train_datasets: dict[str, TaskDataset] = {}
        if train_dataset is not None:
            check_train_datasets(train_dataset)
            method = METHODS[args.method]
            trained = {
                name: TaskDataset(dataset, name)
                for name, dataset in train_dataset.items()
                if method.trains_on(name, target)
            }
            self.train_datasets, self.meta_set = split_meta_set(
                args, target, trained, evaluated, self.tasks, processing_class
            )
        trained_on = list(self.train_datasets.values())
        return ConcatDataset[Any](trained_on) if trained_on else None, evaluated or None

    def _set_up_tasks(self, data_collator: Any, compute_metrics: Any) -> None:
        args, bare = self.args, self.accelerator.unwrap_model(self.model)
        model = unwrap_peft(bare)
        kinds = {name: task.kind for name, task in (self.tasks or {}).items()}
        if isinstance(model, MultitaskModel):
            check_heads(model, map(self._head_of, self.task_names), self.train_datasets)
            kinds = {name: task["kind"] for name, task in model.config.tasks.items()} | kinds
        check_parameters(model)
        check_precision(self.accelerator)
        check_adapters(self.accelerator, bare)
        check_tied_weights(self.accelerator, bare)
        check_method(self.accelerator, METHODS[args.method])
        check_loss_function(args, METHODS[args.method], self.compute_loss_func)
        self.kinds: dict[str, str] = kinds
        self.data_collator = make_collator(
            args, model, self.task_names, kinds, self.tasks or {}, data_collator, self.processing_class
        )
        self._metrics: dict[str, Callable | None] = {
            name: task.compute_metrics for name, task in (self.tasks or {}).items()
        }
        if isinstance(compute_metrics, Mapping):
            self._metrics.update(compute_metrics)
        elif compute_metrics is not None:
            self._metrics.update(dict.fromkeys(self.task_names, compute_metrics))
        choose_best_metric(args, self.task_names, (self.tasks or {}).get(args.target_task))
        # The loss of a task-pure batch is a mean over its rows; there is no token count to divide by.
        self.model_accepts_loss_kwargs = False
        if not self.label_names:
            self.label_names = ["labels"]
        callbacks = self.callback_handler.callbacks
        callbacks.insert(0, PlanCallback(self))
        if args.enable_jit_checkpoint:
            self.add_callback(PreemptionCallback(self))
        for i, callback in enumerate(callbacks):
            if type(callback) is ProgressCallback:
                callbacks[i] = PlanProgressCallback(callback.max_str_len)

    @shadowable_property
    def global_batch_size(self) -> int:
        """`int`: Rows per optimizer step of a task: per-device batch × accumulation steps × processes of a group."""
        processes_per_group = self.args.world_size // self._num_groups
        return self._train_batch_size * self.args.gradient_accumulation_steps * processes_per_group

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """Trainer's rows per optimizer step; in multitask mode [`global_batch_size`]."""
        return self.global_batch_size if self.is_multitask else super().get_total_train_batch_size(args)

    @property
    def _num_groups(self) -> int:
        return count_groups(self.args, METHODS[self.args.method], len(self.train_datasets), self.accelerator)

    @shadowable_property
    def history(self) -> list[dict[str, Any]]:
        """`list[dict]`: What every finished epoch did: α, task weights and meta loss."""
        return self._runner.history if self._runner is not None else []

    @shadowable_property
    def runner(self) -> PlanRunner:
        """`PlanRunner`: The state of the running (or next) `train()` call."""
        if self._runner is None:
            self._runner = self._new_runner()
        return self._runner

    def _new_runner(self) -> PlanRunner:
        args = self.args
        num_rows = {name: len(dataset) for name, dataset in self.train_datasets.items()}
        steps = steps_per_task(num_rows, self.global_batch_size, args.delta_fraction, args.max_phase_steps)
        sizes: dict[str, float] = dict(steps)
        if self._num_groups > 1:
            # What a phase costs is its tokens, as far as they can be told beforehand; the first process's word holds,
            # as rows may be drawn anew each time.
            for name, dataset in self.train_datasets.items():
                sizes[name] *= padded_tokens(dataset, self._train_batch_size)
            (sizes,) = broadcast_object_list([sizes])
        groups = PhaseGroups(self._num_groups, sizes, args.process_index, args.world_size)
        return PlanRunner(self, METHODS[args.method](args, list(num_rows)), steps, self.meta_set, groups)

    def unscaled_parameters(self) -> set[str]:
        """`set[str]`: Trainable parameters that are merged with coefficient 1: the heads, if α is the encoder's."""
        if self.args.alpha_applies_to == "all":
            return set()
        # By identity: wrappers and adapters change names.
        shared = {id(parameter) for parameter in self._encoder("alpha_applies_to", "all").parameters()}
        return {name for name, parameter in self.model.named_parameters() if id(parameter) not in shared}

    def alpha_groups(self) -> dict[str, str] | None:
        """`dict[str, str]`, *optional*: Every parameter's group with an α of its own; `None` where all share one."""
        if self.args.alpha_granularity == "task":
            return None
        return layer_groups(self.model, self._encoder("alpha_granularity", "task"))

    def _encoder(self, setting: str, otherwise: str) -> nn.Module:
        encoder = getattr(unwrap_peft(self.accelerator.unwrap_model(self.model)), "encoder", None)
        if not isinstance(encoder, nn.Module):
            raise ValueError(
                f"{setting}={getattr(self.args, setting)!r} needs a model whose shared part is its attribute "
                f"`encoder`, as MultitaskModel has it: pass such a model, or {setting}={otherwise!r}"
            )
        return encoder

    def rows_of(self, name: str) -> int:
        """`int`: Rows of a task that are trained on; 0 where there are none."""
        return len(self.train_datasets[name]) if name in self.train_datasets else 0

    # ---- Training

    def get_train_dataloader(self) -> DataLoader:
        """
        Returns the training loader: in multitask mode over all tasks, in the order of the running epoch's plan.

        Raises:
            ValueError: If there is no training data.
        """
        if not self.is_multitask or self.train_dataset is None:
            return super().get_train_dataloader()
        args = self.args
        seeded: Any = partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index)
        sampler = PlanBatchSampler(
            current_lanes=lambda: self.runner.groups.lanes(self.runner.plan),
            max_steps=self.runner.max_steps,
            num_rows={name: len(dataset) for name, dataset in self.train_datasets.items()},
            rows_per_task=self._train_batch_size,
            accumulation_steps=args.gradient_accumulation_steps,
            ranks_per_lane=self.runner.groups.size,
            fraction=args.delta_fraction,
            data_seed=args.resolved_data_seed,
        )
        return self.accelerator.prepare(
            DataLoader(
                self.train_dataset,
                batch_sampler=sampler,
                collate_fn=self.data_collator,
                num_workers=args.dataloader_num_workers,
                pin_memory=args.dataloader_pin_memory,
                persistent_workers=args.dataloader_persistent_workers,
                multiprocessing_context=args.dataloader_multiprocessing_context,
                prefetch_factor=args.dataloader_prefetch_factor,
                in_order=args.dataloader_in_order,
                worker_init_fn=partial(start_worker, initialise=seeded) if args.enable_jit_checkpoint else seeded,
            )
        )

    def num_examples(self, dataloader: DataLoader) -> int:
        """Rows of an epoch: in multitask training those of the plan, not of the datasets."""
        if self.is_multitask and self.train_dataset is not None and dataloader.dataset is self.train_dataset:
            plan = self.runner.plan
            # Batches per step: one, or one of every task; a plan that leaves a task out is shorter than its nominal.
            batches_per_step = sum(map(len, plan)) / plan.num_steps
            return round(plan.nominal_steps * batches_per_step * self.global_batch_size)
        return super().num_examples(dataloader)

    def set_initial_training_values(self, args: TrainingArguments, dataloader: DataLoader) -> tuple:
        """Trainer's values; methods of several phases round a run up to whole plans, with a warning."""
        values = super().set_initial_training_values(args, dataloader)
        if not self.is_multitask:
            return values
        self.runner.begin_run(values[0])
        if not self.runner.method.separates_phases:
            return values
        _, steps_per_epoch, num_examples, _, batch_size, steps_in_epoch, max_steps = values
        epochs = math.ceil(max_steps / steps_per_epoch)
        if epochs * steps_per_epoch != max_steps:
            logger.warning(
                f"{max_steps} steps end inside an epoch's plan of {steps_per_epoch} steps, which the method needs "
                f"whole; the run is rounded up to {epochs} epochs of {epochs * steps_per_epoch} steps."
            )
        return (
            epochs, steps_per_epoch, num_examples, epochs * num_examples, batch_size, steps_in_epoch,
            epochs * steps_per_epoch,
        )  # fmt: skip

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: DataLoader | None = None) -> nn.Module:
        if self.is_multitask:
            compile_encoder(self.accelerator.unwrap_model(self.model), self.args, self.accelerator)
            if training and model is self.model and self.args.world_size > 1 and not self.is_fsdp_enabled:
                # An evaluation before training marks the bare model as prepared: accelerate would leave it without
                # DDP, and ranks would drift apart without a word.
                model._is_accelerate_prepared = False
                if "_original_forward" in vars(model):
                    model.forward = vars(model).pop("_original_forward")
                if self.runner.groups.are_several:
                    # Losses of different tasks: no normaliser of one is another's too.
                    self.args.average_tokens_across_devices = False
                    return wrap_for_group(model, self.runner.groups, self.accelerator, self.args.ddp_timeout_delta)
        return super()._wrap_model(model, training, dataloader)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Trainer's scheduler, over all plans' steps; methods that fork check that it can be read by position."""
        if self.is_multitask and self.is_in_train:
            # Side by side, phases take fewer steps of Trainer's loop than they have.
            runner = self.runner
            num_training_steps = num_training_steps * runner.plan.nominal_steps // runner.max_steps
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if self.is_multitask and self.is_in_train:
            self.runner.attach()
        return scheduler

    def _inner_training_loop(
        self,
        batch_size: int | None = None,
        args: Any = None,
        resume_from_checkpoint: str | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Trainer's loop, with a run state of its own: batch-size search and hyper-parameter search enter it again."""
        if not self.is_multitask:
            return super()._inner_training_loop(batch_size, args, resume_from_checkpoint, trial, ignore_keys_for_eval)
        check_setup(self.args)
        if self.args.auto_find_batch_size and batch_size is not None:
            self._train_batch_size = batch_size
        check_parameters(self.model)
        prepare_plugin(self.accelerator, self.model)
        self._runner = None
        if not self.is_fsdp_enabled:
            self.model_wrapped = self.model  # each run wraps anew: groups of processes may have changed
        self.run_dir = self._get_output_dir(trial)
        self.saved_steps = []
        try:
            return super()._inner_training_loop(batch_size, args, resume_from_checkpoint, trial, ignore_keys_for_eval)
        finally:
            if self._runner is not None:
                self._runner.abandon()
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, PreemptionCallback):
                    callback.release()

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        epochs, batches = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        if self.is_multitask and resume_from_checkpoint is not None:
            # Plans may be shorter than the longest, so global_step does not tell the place; the run's state does.
            self.runner.load_position(load_run_state(resume_from_checkpoint))
            restore_callbacks(self.callback_handler.callbacks, self.state.stateful_callbacks or {})  # type: ignore[arg-type]
            epochs, batches = self.runner.epoch, self.runner.step * self.args.gradient_accumulation_steps
        return epochs, batches

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Trainer's step; in multitask training the unweighted loss is also added to its task's mean."""
        if not self.is_multitask:
            return super().training_step(model, inputs, num_items_in_batch)
        if self.runner.is_idle:
            return self.runner.idle_loss()
        if BATCHES_KEY in inputs:
            return self._multitask_training_step(inputs[BATCHES_KEY], num_items_in_batch)
        task = inputs[TASK_KEY]
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.runner.observe_loss(task, loss)
        return loss

    def _multitask_training_step(self, batches: Mapping[str, dict[str, Any]], num_items_in_batch: Any) -> torch.Tensor:
        """Trainer's step for a batch of every task in turn, with gradients apart; returns the mean of their losses."""
        step, losses = self.runner.multitask_step, []
        for task, inputs in batches.items():
            with step.gradients.of(task):
                # Not in DDP, which would take parameters that another task's batch has used for this one's.
                losses.append(super().training_step(self.model, inputs, num_items_in_batch))
            self.runner.observe_loss(task, losses[-1])
            step.observe(task, losses[-1], inputs)
        if self.accelerator.sync_gradients:
            step.take()
        return torch.stack(losses).mean()

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Trainer's estimate; of a batch of every task, the sum of theirs."""
        return sum(super(MultitaskTrainer, self).floating_point_ops(part) for part in _parts(inputs))

    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        for part in _parts(inputs):
            super()._track_num_input_tokens(part)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Trainer's loss, unweighted; label smoothing is for tasks with classes alone."""
        smoother = self.label_smoother
        if self.is_multitask:
            self.label_smoother = smoother_for(smoother, self.kinds.get(inputs[TASK_KEY]), inputs)
        try:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        finally:
            self.label_smoother = smoother

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> contextlib.AbstractContextManager:
        """Trainer's hook; accelerate, which autocasts the forward pass of any other model, leaves FSDP2's as it is."""
        if self.is_multitask and is_sharded(self.model):
            return self.accelerator.autocast()
        return super().autocast_smart_context_manager(cache_enabled)

    def _get_learning_rate(self) -> float:
        rate = self.runner.learning_rate if self.is_multitask and self.is_in_train else None
        return super()._get_learning_rate() if rate is None else rate

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if not self.is_multitask:
            super()._maybe_log_save_evaluate(*args, **kwargs)
            return
        self.runner.settle_control(self.control)
        saved_before = len(self.saved_steps)
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if self.save_due and len(self.saved_steps) == saved_before:
            # Trainer's flag would not do: with save_strategy="best" an evaluation overrides it.
            self._save_checkpoint(self.model, kwargs.get("trial", args[3] if len(args) > 3 else None))
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        self.save_due = False

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        if not self.is_multitask:
            return super()._finalize_training(*args, **kwargs)
        self.runner.require_finite()
        # Before the best model is loaded, which θ0 must not overwrite.
        self.runner.abandon()
        limit, load_best = self.args.save_total_limit, self.args.load_best_model_at_end
        # Trainer deletes all but the best checkpoint here under a limit of 1: not what a stopped run goes on from.
        self.args.load_best_model_at_end = load_best and not self.preempted
        self.args.save_total_limit = limit if self.args.load_best_model_at_end else None
        try:
            return super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit, self.args.load_best_model_at_end = limit, load_best

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's card; in multitask mode one that shows the tasks, their weights and how honest the scores are."""
        if not self.is_multitask:
            super().create_model_card(*args, **kwargs)
        elif self.is_world_process_zero():
            card = Path(str(self.args.output_dir)) / "README.md"
            if self.state.global_step == 0 and card.is_file():
                logger.warning("%s stays as it is: this trainer has not trained, and knows less than it says", card)
            else:
                write_card_of(self, kwargs.get("model_name"))


def _parts(inputs: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The batches that a step's inputs consist of: one, or one of every task."""
    return inputs[BATCHES_KEY].values() if BATCHES_KEY in inputs else (inputs,)
