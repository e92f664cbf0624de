"""Evaluation and prediction by task: the half of the trainer that takes no step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import PredictionOutput

from .data import TaskDataset
from .distributed.refusals import check_evaluation
from .setup.datasets import tokenized_split
from .setup.task_setup import TaskSetup
from .trainer_hooks import multitask_hook


class EvaluationMixin(Trainer):
    """
    A `transformers.Trainer` that, in multitask mode, evaluates and predicts a task by its name.

    [`MultitaskTrainer`] sets `is_multitask` and `task_setup`, and has `merged_parameters()`.
    """

    # Trainer's own attributes; `args` are MultitaskTrainingArguments in multitask mode, any others in plain mode.
    args: Any
    model: Any
    eval_dataset: Any

    # Read while Trainer.__init__ runs.
    is_multitask: bool = False
    task_setup: TaskSetup
    _task_under_evaluation: str | None = None

    merged_parameters: Callable[[], contextlib.AbstractContextManager[None]]

    @multitask_hook
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """
        Evaluates a task: in multitask mode metrics are named `eval_<task>_<metric>`.

        Args:
            eval_dataset (`str`, `Dataset` or `dict[str, Dataset]`, *optional*):
                A task's name, datasets by task, or a dataset of the target. Defaults to the target's validation set
                and those of the evaluation-only tasks that are scored with its head, as MNLI's mismatched set (with
                `eval_auxiliaries`, every task's).
            ignore_keys (`list[str]`, *optional*): Outputs of the model to leave out.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): Start of the metrics' names.

        Returns:
            `dict[str, float]`: Loss and metrics.

        Raises:
            ValueError: For an unknown task, or without a validation set.
        """
        if eval_dataset is None:
            target, known, setup = self.args.target_task, self.eval_dataset or {}, self.task_setup
            along = [name for name in known if self.args.eval_auxiliaries or setup.head_of(name) == target]
            eval_dataset = dict.fromkeys([target, *along]) if along else target
        if not isinstance(eval_dataset, dict):
            name = self._task_of(eval_dataset)
            eval_dataset = {name: None if isinstance(eval_dataset, str) else eval_dataset}
        metrics: dict[str, float] = {}
        for name, dataset in eval_dataset.items():
            # By name, Trainer keeps persistent workers' loaders apart.
            given = name if dataset is None else dataset
            with self._metrics_of(name, (self.eval_dataset or {}).get(name) if dataset is None else dataset):
                metrics.update(super().evaluate(given, ignore_keys, f"{metric_key_prefix}_{name}"))
        return metrics

    @multitask_hook
    def predict(
        self, test_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """
        Predicts the test rows of a task.

        Args:
            test_dataset (`str` or `Dataset`, *optional*):
                In multitask mode a task's name, or a dataset of the target; defaults to the target's test set.
            ignore_keys (`list[str]`, *optional*): Outputs of the model to leave out.
            metric_key_prefix (`str`, *optional*, defaults to `"test"`): Start of the metrics' names.
        """
        name = self._task_of(self.args.target_task if test_dataset is None else test_dataset)
        given: Any = name if test_dataset is None else test_dataset
        task = self.task_setup.tasks.get(name)
        with self._metrics_of(name, task.test if isinstance(given, str) and task is not None else given):
            return super().predict(given, ignore_keys, f"{metric_key_prefix}_{name}")

    @multitask_hook
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Trainer's loader; in multitask mode of a task's name, or a dataset of the task being evaluated."""
        name = self._task_of(self.args.target_task if eval_dataset is None else eval_dataset)
        if eval_dataset is None or isinstance(eval_dataset, str):
            if name not in (self.eval_dataset or {}):
                raise ValueError(f"there is no validation set of {name!r}: pass it in `eval_dataset`")
            return super().get_eval_dataloader(name)
        # Trainer keeps a loader of persistent workers under one key for all datasets that come without a name.
        getattr(self, "_eval_dataloaders", {}).pop("eval", None)
        return super().get_eval_dataloader(self._with_task(eval_dataset, name))

    @multitask_hook
    def get_test_dataloader(self, test_dataset: Any = None) -> DataLoader:
        """Trainer's loader; in multitask mode of a task's name (its test rows), or a dataset of the target."""
        name = self._task_of(self.args.target_task if test_dataset is None else test_dataset)
        if test_dataset is None or isinstance(test_dataset, str):
            task = self.task_setup.tasks.get(name)
            if task is None or task.test is None:
                raise ValueError(f"there are no test rows of {name!r}: pass a tokenised dataset")
            test_dataset = tokenized_split({name: task}, "test", self.processing_class, self.args)[name]
        return super().get_test_dataloader(self._with_task(test_dataset, name))

    @multitask_hook
    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's loop, at merged parameters: inside a plan of forks that is θ0."""
        check_evaluation(self.accelerator, self.model)
        with self.merged_parameters():
            return super().evaluation_loop(*args, **kwargs)

    def _task_of(self, dataset: Any) -> str:
        name = dataset if isinstance(dataset, str) else self._owner(dataset)
        if name not in self.task_setup.names:
            raise ValueError(f"unknown task {name!r}: the tasks are {', '.join(self.task_setup.names)}")
        return name

    def _owner(self, dataset: Any) -> str:
        if isinstance(dataset, TaskDataset):
            return dataset.task
        return self._task_under_evaluation or self.args.target_task

    def _with_task(self, dataset: Any, name: str) -> TaskDataset:
        return dataset if isinstance(dataset, TaskDataset) else TaskDataset(dataset, self.task_setup.head_of(name))

    @contextlib.contextmanager
    def _metrics_of(self, name: str, dataset: Any) -> Iterator[None]:
        """Trainer knows one compute_metrics: for the time of a task's evaluation it is the task's."""
        previous = self.compute_metrics, self.preprocess_logits_for_metrics
        setup = self.task_setup
        self._task_under_evaluation = name
        self.compute_metrics = setup.metrics_on(name, dataset)
        self.preprocess_logits_for_metrics = setup.logits_reduction_of(name, self.preprocess_logits_for_metrics)
        try:
            yield
        finally:
            self.compute_metrics, self.preprocess_logits_for_metrics = previous
            self._task_under_evaluation = None

    @multitask_hook
    def _get_collator_with_removed_columns(self, data_collator: Callable, description: str | None = None) -> Callable:
        # The collator drops unused columns itself: it keeps the task's name.
        return data_collator
