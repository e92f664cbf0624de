"""The objectives that a run offers its method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import EvalPrediction

from ..data import TaskDataset
from ..kinds import find_kind
from ..methods import METHODS
from ..modeling import MultitaskModel, unwrap_peft
from ..setup.best_metric import MEAN
from ..setup.meta_set import split_halves
from ..setup.run_context import RunContext
from .entropy import EntropyObjective
from .loss import TaskObjective


class RunObjectives:
    """
    Creates the objectives of a run's tasks.

    Args:
        context (`RunContext`): The parts of the trainer that the run may use.
        parameters (`Sequence[torch.nn.Parameter]`): The parameters with respect to which gradients are taken.
    """

    def __init__(self, context: RunContext, parameters: Sequence[nn.Parameter]) -> None:
        self.context = context
        self.parameters = parameters

    @property
    def meta(self) -> TaskObjective:
        """`TaskObjective`: The target's loss and score on the meta set."""
        return self.on(self._meta_set)

    def meta_entropy(self) -> EntropyObjective:
        """
        `EntropyObjective`: The entropy of the target's predictions on the meta set, whose labels are not read.

        Raises:
            ValueError: If the target does not predict one class of several.
        """
        self._check_target_has_classes()
        return EntropyObjective(**self._settings_of(self._meta_set), label_names=self.context.label_names)

    def meta_halves(self) -> tuple[list[int], list[int]]:
        """`tuple[list[int], list[int]]`: The rows of the meta set in two halves, see [`split_halves`]."""
        setup = self.context.setup
        is_own = setup.target in setup.own_rows
        return split_halves(self.context.args, self._meta_set, setup.tasks.get(setup.target), is_own)

    def training(self, task: str) -> TaskObjective:
        """`TaskObjective`: A task's loss and score on its training rows."""
        return self.on(self.context.setup.train_datasets[task])

    def on(self, dataset: TaskDataset) -> TaskObjective:
        """
        A task's loss and score on any rows.

        Args:
            dataset (`TaskDataset`): The rows, and their task.
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
            raise RuntimeError("there is no meta set: the method must set `needs_meta_set = True`")
        return meta_set

    def _settings_of(self, dataset: TaskDataset) -> dict[str, Any]:
        context, is_meta_set = self.context, dataset is self.context.setup.meta_set
        return {
            "model": context.model,
            "parameters": self.parameters,
            "dataset": dataset,
            "collator": context.collate,
            "prepare_inputs": context.prepare_inputs,
            "accelerator": context.accelerator,
            "micro_batch_size": (is_meta_set and context.args.per_device_meta_batch_size) or context.batch_size,
            "order": partial(context.setup.lengths.longest_first, dataset),
            "autocast": is_meta_set and self._alpha_step_is_autocast,
            "scale": context.scales.get(dataset.task),
        }

    @property
    def _alpha_step_is_autocast(self) -> bool:
        args = self.context.args
        # Small gradients would vanish in fp16, because the α step has no gradient scaler.
        is_bf16 = self.context.accelerator.mixed_precision == "bf16"
        return args.alpha_autocast and is_bf16 and METHODS[args.method].fits_alpha

    def _check_target_has_classes(self) -> None:
        """
        Refuses targets that do not predict one class of several.

        For a [`MultitaskModel`], the target's head decides; for any other model, the first training label.
        """
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
                f"alpha_objective='entropy' needs a target that predicts one class of several, but {target!r} "
                "predicts scores, several labels at once, or tokens: pass alpha_objective='loss'"
            )

    def _score_on(self, dataset: TaskDataset) -> Callable[[EvalPrediction, Sequence[int]], float] | None:
        """
        Returns the function that computes a task's score on rows of a dataset, or `None` if the task has no metric.

        The target's score is the metric that selects the best model; any other task's is its main metric, and so is
        the target's if a mean over tasks selects.
        """
        task, args, setup = dataset.task, self.context.args, self.context.setup
        known = setup.tasks.get(task)
        metric, sign = "", 1
        if task == args.target_task and args.metric_for_best_model != MEAN:
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
