"""The objectives that a run offers its method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import EvalPrediction

from ..data import TaskDataset
from ..kinds import find_kind
from ..modeling import MultitaskModel, unwrap_peft
from ..setup.run_context import RunContext
from .entropy import EntropyObjective
from .loss import TaskObjective


class RunObjectives:
    """
    Makes the objectives of a run's tasks.

    Args:
        context (`RunContext`): What the run may use of its trainer.
        parameters (`Sequence[torch.nn.Parameter]`): What gradients are taken of.
    """

    def __init__(self, context: RunContext, parameters: Sequence[nn.Parameter]) -> None:
        self.context = context
        self.parameters = parameters

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
        return EntropyObjective(**self._settings_of(self._meta_set), label_names=self.context.label_names)

    def training(self, task: str) -> TaskObjective:
        """`TaskObjective`: A task on its training rows."""
        return self.on(self.context.setup.train_datasets[task])

    def on(self, dataset: TaskDataset) -> TaskObjective:
        """
        A task on any rows.

        Args:
            dataset (`TaskDataset`): The rows.
        """
        return TaskObjective(
            **self._settings_of(dataset),
            compute_score=self._score_on(dataset),
            label_name=self.context.label_names[0],
            preprocess_logits=self.context.setup.logits_reduction_of(dataset.task, self.context.preprocess_logits),
        )

    @property
    def _meta_set(self) -> TaskDataset:
        meta_set = self.context.setup.meta_set
        if meta_set is None:
            raise RuntimeError("there is no meta set: the method must say that it `needs_meta_set`")
        return meta_set

    def _settings_of(self, dataset: TaskDataset) -> dict[str, Any]:
        context = self.context
        return {
            "model": context.model,
            "parameters": self.parameters,
            "dataset": dataset,
            "collator": context.collate,
            "prepare_inputs": context.prepare_inputs,
            "accelerator": context.accelerator,
            "micro_batch_size": context.batch_size,
        }

    def _check_target_has_classes(self) -> None:
        """Refuses a regression and several labels at once, by the model's head or, of other models, by a label."""
        context, target = self.context, self.context.setup.target
        model = unwrap_peft(context.accelerator.unwrap_model(context.model))
        if isinstance(model, MultitaskModel):
            head = model.config.tasks[target]
            suits = find_kind(head["kind"], head["problem_type"]).has_one_class
        else:
            label = torch.as_tensor((context.setup.train_datasets[target].labels() or [0])[0])
            suits = label.ndim == 0 and not label.is_floating_point()
        if not suits:
            raise ValueError(
                f"alpha_objective='entropy' needs a target with one class of several, and {target!r} predicts scores, "
                "several labels at once, or words, so that its predictions have no such entropy: pass "
                "alpha_objective='loss'"
            )

    def _score_on(self, dataset: TaskDataset) -> Callable[[EvalPrediction, Sequence[int]], float] | None:
        """The metric that chooses the target's best model, or a `Task`'s main metric; `None` where there is none."""
        task, args, setup = dataset.task, self.context.args, self.context.setup
        known = setup.tasks.get(task)
        metric, sign = "", 1
        if task == args.target_task:
            metric = (args.metric_for_best_model or "").removeprefix(f"eval_{task}_")
            sign = 1 if args.greater_is_better else -1
        elif known is not None:
            metric, sign = known.main_metric, 1 if known.greater_is_better else -1
        if setup.metrics.get(task) is None or metric in ("", "loss") or metric.startswith("eval_"):
            return None

        def score(prediction: EvalPrediction, rows: Sequence[int]) -> float:
            compute_metrics = setup.metrics_on(task, dataset, rows)
            assert compute_metrics is not None
            return sign * compute_metrics(prediction)[metric]

        return score
