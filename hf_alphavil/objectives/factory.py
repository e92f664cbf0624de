"""The objectives that a run offers its method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import EvalPrediction

from ..data import TaskDataset
from ..modeling import MultitaskModel, unwrap_peft
from .entropy import EntropyObjective
from .loss import TaskObjective

if TYPE_CHECKING:
    from ..trainer import MultitaskTrainer


class RunObjectives:
    """
    Makes the objectives of a run's tasks from its trainer.

    Args:
        trainer (`MultitaskTrainer`): Whose model, collator, accelerator and metrics are used.
        parameters (`Sequence[torch.nn.Parameter]`): What gradients are taken of.
        meta_set (`TaskDataset`, *optional*): Held-out rows of the target.
    """

    def __init__(
        self, trainer: MultitaskTrainer, parameters: Sequence[nn.Parameter], meta_set: TaskDataset | None
    ) -> None:
        self.trainer = trainer
        self.parameters = parameters
        self.meta_set = meta_set

    @property
    def meta(self) -> TaskObjective:
        """`TaskObjective`: The target on the meta set."""
        return self.on(self._meta_set)

    def meta_entropy(self) -> EntropyObjective:
        """
        `EntropyObjective`: The target's predictions on the meta set, whose labels do not count.

        Raises:
            ValueError: If the target has not one label among several.
        """
        self._check_target_has_classes()
        return EntropyObjective(**self._settings_of(self._meta_set), label_names=self.trainer.label_names)

    def training(self, task: str) -> TaskObjective:
        """`TaskObjective`: A task on its training rows."""
        return self.on(self.trainer.train_datasets[task])

    def on(self, dataset: TaskDataset) -> TaskObjective:
        """
        A task on any rows.

        Args:
            dataset (`TaskDataset`): The rows.
        """
        return TaskObjective(
            **self._settings_of(dataset),
            compute_score=self._score_on(dataset),
            label_name=self.trainer.label_names[0],
            preprocess_logits=self.trainer.logits_reduction_of(dataset.task),
        )

    @property
    def _meta_set(self) -> TaskDataset:
        if self.meta_set is None:
            raise RuntimeError("there is no meta set: the method must say that it `needs_meta_set`")
        return self.meta_set

    def _settings_of(self, dataset: TaskDataset) -> dict[str, Any]:
        trainer = self.trainer
        return {
            "model": trainer.model,
            "parameters": self.parameters,
            "dataset": dataset,
            "collator": trainer.data_collator,
            "prepare_inputs": trainer._prepare_inputs,
            "accelerator": trainer.accelerator,
            "micro_batch_size": trainer._train_batch_size,
        }

    def _check_target_has_classes(self) -> None:
        """Refuses a regression and several labels at once, by the model's head or, of other models, by a label."""
        trainer, target = self.trainer, self.trainer.args.target_task
        model = unwrap_peft(trainer.accelerator.unwrap_model(trainer.model))
        if isinstance(model, MultitaskModel):
            head = model.config.tasks[target]
            one_class = ("sequence_classification", "multiple_choice")
            suits = head["kind"] in one_class and head["problem_type"] != "multi_label_classification"
        else:
            label = torch.as_tensor((trainer.train_datasets[target].labels() or [0])[0])
            suits = label.ndim == 0 and not label.is_floating_point()
        if not suits:
            raise ValueError(
                f"alpha_objective='entropy' needs a target with one class of several, and {target!r} predicts scores, "
                "several labels at once, or words, so that its predictions have no such entropy: pass "
                "alpha_objective='loss'"
            )

    def _score_on(self, dataset: TaskDataset) -> Callable[[EvalPrediction, Sequence[int]], float] | None:
        """The metric that chooses the target's best model, or a `Task`'s main metric; `None` where there is none."""
        task, args = dataset.task, self.trainer.args
        known = (self.trainer.tasks or {}).get(task)
        metric, sign = "", 1
        if task == args.target_task:
            metric = args.metric_for_best_model.removeprefix(f"eval_{task}_")
            sign = 1 if args.greater_is_better else -1
        elif known is not None:
            metric, sign = known.main_metric, 1 if known.greater_is_better else -1
        if self.trainer._metrics.get(task) is None or metric in ("", "loss") or metric.startswith("eval_"):
            return None

        def score(prediction: EvalPrediction, rows: Sequence[int]) -> float:
            compute_metrics = self.trainer.metrics_on(task, dataset, rows)
            assert compute_metrics is not None
            return sign * compute_metrics(prediction)[metric]

        return score
