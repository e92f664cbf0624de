"""The part of the trainer that takes a training step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from ..data import BATCHES_KEY, TASK_KEY
from ..distributed.fsdp import is_sharded
from ..modeling.label_smoothing import smoother_for
from ..setup.label_scale import LabelScale
from ..setup.task_setup import TaskSetup
from ..trainer_hooks import multitask_hook, noted, temporarily
from .runner import PlanRunner


class TrainingStepMixin(Trainer):
    """
    A `transformers.Trainer` whose steps, in multitask mode, take a batch of one task or a batch of every task.

    [`MultitaskTrainer`] sets `runner` and `task_setup`.
    """

    runner: PlanRunner
    task_setup: TaskSetup
    accelerator: Any
    model: Any

    # Scales of regressions by task, in a training step.
    _scales: Mapping[str, LabelScale] = {}

    @property
    def has_own_loss(self) -> bool:
        """`bool`: Whether the user's function, or the user's subclass, computes the loss."""
        return self.compute_loss_func is not None or type(self).compute_loss is not TrainingStepMixin.compute_loss

    @property
    def scaled_loss(self) -> str | None:
        """`str`, *optional*: What says that the user's loss is scaled for gradient accumulation already."""
        if self.compute_loss_func is not None:
            return "compute_loss_func"
        reads_it = hasattr(Trainer, "loss_is_scaled_for_ga")  # older versions of transformers do not
        return "loss_is_scaled_for_ga=True" if reads_it and self.loss_is_scaled_for_ga else None

    @multitask_hook
    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Trainer's step. It also adds the unweighted loss to the mean of its task."""
        if self.runner.is_idle:
            return self.runner.state.idle_loss()
        if BATCHES_KEY in inputs:
            return self._multitask_training_step(inputs[BATCHES_KEY])
        task = inputs[TASK_KEY]
        said = f"in a training step of task {task!r} (global step {self.state.global_step + 1})"
        with noted(said), self._standardized_labels():
            loss = super().training_step(model, inputs, num_items_in_batch)
        self.runner.observe_loss(task, loss)
        return loss

    def _multitask_training_step(self, batches: Mapping[str, dict[str, Any]]) -> torch.Tensor:
        """Runs Trainer's step on each task's batch, with separate gradients. Returns the mean of the losses."""
        step, losses = self.runner.multitask_step, []
        assert step is not None
        for task, inputs in batches.items():
            said = f"in a training step of task {task!r} (global step {self.state.global_step + 1})"
            with noted(said), self._standardized_labels(), self._own_items(inputs) as count, step.gradients.of(task):
                # The bare model: DDP would attribute the parameters of another task's batch to this one.
                losses.append(super().training_step(self.model, inputs, count))
            self.runner.observe_loss(task, losses[-1])
            step.observe(task, losses[-1], inputs)
        if self.accelerator.sync_gradients:
            step.take()
        return torch.stack(losses).mean()

    @multitask_hook
    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Trainer's estimate, summed over the batches of a multi-task step; 0 for an idle step."""
        if self.runner.is_idle:
            return 0
        # The short form of super() does not work inside a generator.
        return sum(super(TrainingStepMixin, self).floating_point_ops(part) for part in _parts(inputs))

    @multitask_hook
    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        for part in _parts(inputs):
            super()._track_num_input_tokens(part)

    @multitask_hook
    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Trainer's loss, unweighted. Label smoothing acts only on tasks with classes."""
        task = inputs[TASK_KEY]
        smoother = smoother_for(self.label_smoother, self.task_setup.kinds.get(task), inputs)
        with temporarily(self, label_smoother=smoother):
            computed: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if (scale := self._scales.get(task)) is None:
            return computed
        return (scale.loss(computed[0]), computed[1]) if return_outputs else scale.loss(computed)

    def _standardized_labels(self) -> contextlib.AbstractContextManager[None]:
        """Divides losses of regressions by their labels' variance, in a `with` block without evaluations."""
        return temporarily(self, _scales=self.runner.context.scales)

    def _training_loss(self, batch: dict[str, Any]) -> torch.Tensor:
        inputs = self._prepare_inputs(batch)
        with self.compute_loss_context_manager(), self._standardized_labels(), self._own_items(inputs) as count:
            return self.compute_loss(self.accelerator.unwrap_model(self.model), inputs, num_items_in_batch=count)

    @multitask_hook
    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Any:
        """Trainer's number, also for a subclass's loss that is scaled by it while the model takes no such number."""
        with temporarily(self, model_accepts_loss_kwargs=self.scaled_loss is not None):
            return super()._get_num_items_in_batch(batch_samples, device)

    @contextlib.contextmanager
    def _own_items(self, inputs: dict[str, Any]) -> Iterator[Any]:
        """The number of items that a user's loss function gets for one batch: those of this process."""
        with temporarily(self.args, average_tokens_across_devices=False):
            yield self._get_num_items_in_batch([inputs], self.args.device)

    @multitask_hook
    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> contextlib.AbstractContextManager:
        """Trainer's context. Autocasts a model that FSDP2 has sharded, because accelerate does not."""
        if is_sharded(self.model):
            return self.accelerator.autocast()
        return super().autocast_smart_context_manager(cache_enabled)

    @multitask_hook
    def _get_learning_rate(self) -> float:
        rate = self.runner.learning_rate if self.is_in_train else None
        return super()._get_learning_rate() if rate is None else rate


def _parts(inputs: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The batches that a step's inputs consist of: one, or one of every task."""
    return inputs[BATCHES_KEY].values() if BATCHES_KEY in inputs else (inputs,)
