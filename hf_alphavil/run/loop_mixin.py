"""The part of the trainer that fits Trainer's loop to plans: its length, schedule, evaluations and end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from ..checkpointing.best_model import find_best_checkpoint
from ..checkpointing.preemption import STEPS_BETWEEN_AGREEMENTS, PreemptionCallback
from ..checkpointing.run_state import load_run_state
from ..data import TaskConcatDataset
from ..setup.best_metric import reader_of_best_metric, scheduler_kwargs
from ..setup.replaced_parts import check_compute_metrics, check_train_dataset, warn_of_uncalled_methods
from ..trainer_hooks import multitask_hook, shadowable_property, temporarily
from .callbacks import has_stopped_early, restore_callbacks
from .first_batches import check_first_batches
from .head_rates import scale_head_rates, warn_of_unscaled_rates
from .head_scales import scale_new_heads
from .kept_epoch import mark_kept_epoch
from .precision_advice import advise_bf16
from .runner import PlanRunner

logger = logging.getLogger(__name__)

#: Settings by which Trainer's optimizer is made.
OF_OPTIMIZER = (
    "optim", "optim_args", "optim_target_modules", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2",
    "adam_epsilon", "regression_scale",
)  # fmt: skip


class TrainingLoopMixin(Trainer):
    """
    A `transformers.Trainer` whose loop, in multitask mode, runs whole plans.

    [`MultitaskTrainer`] sets `runner`, `global_batch_size` and `saved_steps`, and provides the checks.
    """

    runner: PlanRunner
    take_optimizer: Callable[[], None]
    check_optimizer_of_ranks: Callable[[], None]
    rehearse_metrics: Callable[[], None]
    global_batch_size: int
    saved_steps: list[int]
    args: Any
    model: Any
    optimizer: Any

    # Read while Trainer.__init__ runs.
    _preemption: PreemptionCallback | None = None
    _told_of_whole_plans: bool = False
    _made_optimizer: tuple[Optimizer | None, list[Any]] = (None, [])

    @shadowable_property
    def preempted(self) -> bool:
        """`bool`: Whether SIGTERM ended the last `train()`. Only with `enable_jit_checkpoint`."""
        return self._preemption is not None and self._preemption.preempted

    def _preemption_is_agreed_now(self) -> bool:
        """
        `bool`: Whether processes agree on preemption at this step. Groups that run phases in parallel do so only every
        few steps, so that none waits for the slowest.
        """
        return not self.runner.groups.is_parallel or self.runner.state.step % STEPS_BETWEEN_AGREEMENTS == 0

    def _must_stop_now(self) -> bool:
        """`bool`: Whether an α step must end early, because of SIGTERM. All processes must call it."""
        return self._preemption is not None and self._preemption.agree(self.args)

    @multitask_hook
    def num_examples(self, dataloader: DataLoader) -> int:
        """Rows of an epoch. In multitask mode these are the plan's, not the datasets'."""
        if not isinstance(dataloader.dataset, TaskConcatDataset):
            return super().num_examples(dataloader)
        plan = self.runner.plan
        # A step has one batch, or one of every task. A plan that leaves out a task is shorter than `nominal_steps`.
        batches_per_step = sum(map(len, plan)) / plan.num_steps
        return round(plan.nominal_steps * batches_per_step * self.global_batch_size)

    @multitask_hook
    def set_initial_training_values(self, args: TrainingArguments, dataloader: DataLoader) -> tuple:
        """Trainer's values. Methods with several phases round a run up to whole plans, with a warning."""
        check_train_dataset(self.train_dataset, self.runner.context.setup)
        check_compute_metrics(self.compute_metrics)
        warn_of_uncalled_methods(type(self))
        values = super().set_initial_training_values(args, dataloader)
        if values[-1] <= 0:
            raise ValueError(
                f"max_steps={args.max_steps} and num_train_epochs={args.num_train_epochs} train nothing: pass a "
                "positive number of epochs, and -1 or a positive number as max_steps"
            )
        runner = self.runner
        runner.begin_run(values[0])
        epochs, steps_per_epoch, num_examples, _, batch_size, steps_in_epoch, max_steps = values
        if not runner.method.separates_phases:
            # Trainer does not know that a step may have a batch of every task.
            rows = round(max_steps * num_examples / steps_per_epoch)
            return epochs, steps_per_epoch, num_examples, rows, batch_size, steps_in_epoch, max_steps
        epochs = math.ceil(max_steps / steps_per_epoch)
        if epochs * steps_per_epoch != max_steps:
            logger.warning(
                f"{max_steps} steps end inside an epoch's plan of {steps_per_epoch} steps, but the method needs whole "
                f"plans; the run is rounded up to {epochs} epochs of {epochs * steps_per_epoch} steps."
            )
        return (
            epochs, steps_per_epoch, num_examples, epochs * num_examples, batch_size, steps_in_epoch,
            epochs * steps_per_epoch,
        )  # fmt: skip

    @multitask_hook
    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader, resume_from_checkpoint: str | None
    ) -> tuple:
        """Trainer's preparation of the model, after which ranks, losses and metrics are looked at before training."""
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is None:  # else it was done before the checkpoint was loaded
            self.take_optimizer()
        # Not before: FSDP2 has only now placed and sharded the model.
        self.check_optimizer_of_ranks()
        runner = self.runner
        check_first_batches(runner.context, runner.method, runner.state.deltas, runner.objectives)
        warn_of_unscaled_rates(self.optimizer, runner.context.scales)
        if resume_from_checkpoint is None:
            scale_new_heads(runner.context, runner.objectives)
        self.rehearse_metrics()
        advise_bf16(self.model, self.accelerator)
        return prepared

    @multitask_hook
    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Trainer's optimizer. Heads of regressions on standardised labels have groups of their own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.train_dataset is not None:
            scale_head_rates(optimizer, self.model, self.runner.context.scales)
        if is_new:
            self._made_optimizer = optimizer, self._settings_of_optimizer()
        return optimizer

    def follow_step_settings(self) -> None:
        """Takes settings that have changed since the last training: Trainer keeps its batch size and its optimizer."""
        if not self.args.auto_find_batch_size:
            self._train_batch_size = self.args.train_batch_size
        made, settings = self._made_optimizer
        is_ours = made is not None and made is getattr(self.optimizer, "optimizer", self.optimizer)
        if is_ours and settings != self._settings_of_optimizer():
            self.optimizer = None

    def _settings_of_optimizer(self) -> list[Any]:
        return [getattr(self.args, name) for name in OF_OPTIMIZER]

    @multitask_hook
    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Trainer's scheduler over the steps of all plans."""
        if not self.is_in_train:
            return super().create_scheduler(num_training_steps, optimizer)
        # Phases that run in parallel take fewer steps of Trainer's loop than they have in total.
        runner = self.runner
        num_training_steps = num_training_steps * runner.plan.nominal_steps // runner.max_steps
        try:
            with temporarily(self.args, lr_scheduler_kwargs=scheduler_kwargs(self.args)):
                scheduler = super().create_scheduler(num_training_steps, optimizer)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(
                f"lr_scheduler_type={self.args.lr_scheduler_type.value!r} does not work with "
                f"lr_scheduler_kwargs={self.args.lr_scheduler_kwargs!r} ({error}): pass the arguments of "
                f"transformers' get_{self.args.lr_scheduler_type.value}_schedule"
            ) from None
        return scheduler

    @multitask_hook
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
        if resume_from_checkpoint is None:
            return epochs, batches
        # Plans may be shorter than the longest one, so the position comes from the run's state, not global_step.
        state = self.runner.state
        state.load_position(load_run_state(resume_from_checkpoint))
        epoch, step = state.epoch + (state.step > 0), self.state.global_step
        if epoch > num_train_epochs or step > max_steps:
            raise ValueError(
                f"{resume_from_checkpoint} was written in epoch {epoch}, at step {step}, and this run has "
                f"{num_train_epochs} epochs and {max_steps} steps: pass at least as many (`num_train_epochs` or "
                "`max_steps`), or resume from an earlier checkpoint"
            )
        # Trainer keeps the recorded path and the checkpoint's own numbers of steps.
        self.state.best_model_checkpoint = find_best_checkpoint(
            resume_from_checkpoint, self.args.load_best_model_at_end
        )
        self.state.compute_steps(self.args, max_steps)
        restore_callbacks(self.callback_handler.callbacks, self.state.stateful_callbacks or {})  # type: ignore[arg-type]
        has_ended = step == max_steps or has_stopped_early(self.callback_handler.callbacks)
        if has_ended and not self.runner.plan_is_done:  # else the last epoch's merge is left to do
            return num_train_epochs, 0  # Trainer would take another step
        return state.epoch, state.step * self.args.gradient_accumulation_steps

    @multitask_hook
    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        state = self.runner.state
        is_saved = self.saved_steps[-1:] == [self.state.global_step]
        state.evaluation.settle(self.control, self.args, state.is_forking, is_saved)
        saved_before = len(self.saved_steps)
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if self._preemption is not None and self._preemption.save_due:
            self._preemption.save_due = False
            if len(self.saved_steps) == saved_before:
                # Trainer's flag is not enough: with save_strategy="best" an evaluation overrides it.
                self._save_checkpoint(self.model, kwargs.get("trial", args[3] if len(args) > 3 else None))
                self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        if self.control.should_epoch_stop and state.step > 0:
            self._finish_plan()

    def _finish_plan(self) -> None:
        """Goes on with a plan inside which a callback asked for the next epoch, as Trainer's loop would begin it."""
        if not self.accelerator.sync_gradients:  # Trainer's loop has left the epoch
            raise RuntimeError(
                "A callback set `control.should_epoch_stop` between the accumulated batches of a step "
                f"(`on_substep_end`, after step {self.state.global_step}), but plans are run to their end: pass "
                "`max_phase_steps` or `delta_fraction` for shorter epochs, or set `control.should_training_stop` to "
                "end the run"
            )
        self.control.should_epoch_stop = False
        if not self._told_of_whole_plans:
            self._told_of_whole_plans = True
            logger.warning(
                "A callback asked to end the epoch inside its plan (`control.should_epoch_stop`). Plans are run to "
                "their end, so that has no effect: pass `max_phase_steps` or `delta_fraction` for shorter epochs, or "
                "set `control.should_training_stop` to end the run (this warning appears once)."
            )

    @multitask_hook
    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Trainer's rule. In multitask mode there is always a name, but only some settings need a value."""
        if self.args.metric_for_best_model not in metrics and reader_of_best_metric(self.args) is None:
            return False
        return super()._determine_best_metric(metrics, trial)

    @multitask_hook
    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self.runner.require_finite()
        # This must come before Trainer loads the best model, which θ0 would overwrite.
        self.runner.abandon()
        # With a limit of 1, Trainer deletes all but the best checkpoint here, but a preempted run needs its last one.
        load_best = self.args.load_best_model_at_end and not self.preempted
        limit = self.args.save_total_limit if load_best else None
        with temporarily(self.args, load_best_model_at_end=load_best, save_total_limit=limit):
            output = super()._finalize_training(*args, **kwargs)
        if load_best and self.state.best_model_checkpoint is not None:
            mark_kept_epoch(self.runner.state.history, self.state)
        return output
