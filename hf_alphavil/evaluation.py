"""Evaluation and prediction by task: the part of the trainer that takes no optimizer step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader, Subset
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput, PredictionOutput, has_length

from .data import TaskDataset
from .data.generators import unchanged_generators
from .data.length_ordered import LengthOrdered
from .distributed.agreement import require_equal_ranks
from .distributed.refusals import check_evaluation
from .distributed.timeout import explained_waits
from .reporting.card import OTHER_ROWS
from .setup.best_metric import MEAN, mean_score
from .setup.datasets import tokenized_split
from .setup.heads import check_label_names
from .setup.raw_datasets import tokenized_rows
from .setup.replaced_parts import check_compute_metrics
from .setup.row_checks import check_dataset
from .setup.task_setup import TaskSetup
from .trainer_hooks import multitask_hook, noted, temporarily


class EvaluationMixin(Trainer):
    """
    A `transformers.Trainer` that, in multitask mode, evaluates and predicts tasks by name.

    [`MultitaskTrainer`] sets `is_multitask` and `task_setup`, and provides `merged_parameters()`.
    """

    # Trainer's attributes. `args` is MultitaskTrainingArguments in multitask mode, any TrainingArguments otherwise.
    args: Any
    model: Any
    data_collator: Any
    eval_dataset: Any

    # Class attributes, because Trainer.__init__ reads them.
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
        Evaluates one or more tasks. In multitask mode, metrics are named `eval_<task>_<metric>`.

        Args:
            eval_dataset (`str`, `Dataset` or `dict[str, Dataset]`, *optional*):
                The name of a task, datasets by task, or a dataset: one that the trainer was given for a task, or any
                other of the target. Raw rows need a task that the trainer knows how to tokenise. Defaults to the
                validation sets of the target and of the evaluation-only tasks that use its head, such as MNLI's
                mismatched set. With `eval_auxiliaries`, defaults to the validation sets of all tasks.
            ignore_keys (`list[str]`, *optional*): Outputs of the model to ignore.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): Prefix of the metrics' names.

        Returns:
            `dict[str, float]`: The losses and metrics. With `metric_for_best_model="mean"` and no `eval_dataset`, also
            `eval_mean`, the mean of the tasks' main metrics.

        Raises:
            ValueError: If a task is unknown or has no validation set, or if rows name their label ids in another order
                than the task's.
        """
        has_mean = eval_dataset is None and self.args.metric_for_best_model == MEAN
        if eval_dataset is None:
            eval_dataset = dict.fromkeys(self.task_setup.evaluated(self.args.eval_auxiliaries))
        if not isinstance(eval_dataset, dict):
            name = self._task_of(eval_dataset)
            eval_dataset = {name: None if isinstance(eval_dataset, str) else eval_dataset}
        metrics: dict[str, float] = {}
        for name, dataset in eval_dataset.items():
            # Trainer caches loaders with persistent workers under this name.
            given = name if dataset is None else dataset
            with self._metrics_of(name, (self.eval_dataset or {}).get(name) if dataset is None else dataset):
                metrics.update(super().evaluate(given, ignore_keys, f"{metric_key_prefix}_{name}"))
            if dataset is not None and not self._is_validation_set(dataset, name):
                self._mark_other_rows(f"{metric_key_prefix}_{name}_runtime")
        if has_mean:
            mean = {f"{metric_key_prefix}_mean": mean_score(self.task_setup, eval_dataset, metrics, metric_key_prefix)}
            self.log(mean)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, mean)
            metrics |= mean
        return metrics

    @multitask_hook
    def predict(
        self, test_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """
        Predicts the test rows of a task.

        Args:
            test_dataset (`str` or `Dataset`, *optional*):
                In multitask mode, the name of a task or a dataset of the target. Defaults to the target's test set.
            ignore_keys (`list[str]`, *optional*): Outputs of the model to ignore.
            metric_key_prefix (`str`, *optional*, defaults to `"test"`): Prefix of the metrics' names.

        Returns:
            `PredictionOutput`: Predictions, labels if there are any, and metrics.

        Raises:
            ValueError: If the task is unknown or has no test rows, or if rows name their label ids in another order
                than the task's.
        """
        name = self._task_of(self.args.target_task if test_dataset is None else test_dataset)
        given: Any = name if test_dataset is None else test_dataset
        task = self.task_setup.tasks.get(name)
        with self._metrics_of(name, task.test if isinstance(given, str) and task is not None else given):
            return super().predict(given, ignore_keys, f"{metric_key_prefix}_{name}")

    @multitask_hook
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """
        Trainer's loader, in the order of the rows. In multitask mode it takes the name of a task or a dataset.

        Args:
            eval_dataset (`str` or `Dataset`, *optional*):
                A task, for its validation set, or a dataset of the task under evaluation (by default the target).
                Defaults to the target's validation set.

        Raises:
            ValueError: If a task is unknown or has no validation set.
        """
        name = self._task_of(self.args.target_task if eval_dataset is None else eval_dataset)
        if eval_dataset is None or isinstance(eval_dataset, str):
            if name not in (self.eval_dataset or {}):
                raise ValueError(f"task {name!r} has no validation set: pass one in `eval_dataset`")
            eval_dataset = self._with_task(self.eval_dataset[name], name)
            if self._task_under_evaluation is not None:  # else the order would be that of a cached loader
                ordered = {**self.eval_dataset, name: self._longest_first(eval_dataset)}
                with temporarily(self, eval_dataset=ordered), self._without_sampling_strategy():
                    return super().get_eval_dataloader(name)
        # Trainer caches loaders with persistent workers under one key, "eval", for all datasets without a name.
        getattr(self, "_eval_dataloaders", {}).pop("eval", None)
        with self._without_sampling_strategy():
            return super().get_eval_dataloader(self._longest_first(self._with_task(eval_dataset, name)))

    @multitask_hook
    def get_test_dataloader(self, test_dataset: Any = None) -> DataLoader:
        """
        Trainer's loader, in the order of the rows. In multitask mode it takes the name of a task or a dataset.

        Args:
            test_dataset (`str` or `Dataset`, *optional*):
                A task, for its test rows, or a dataset of the task being predicted (by default the target). Defaults
                to the target's test rows.

        Raises:
            ValueError: If a task is unknown or has no test rows.
        """
        name = self._task_of(self.args.target_task if test_dataset is None else test_dataset)
        if test_dataset is None or isinstance(test_dataset, str):
            task = self.task_setup.tasks.get(name)
            if task is None or task.test is None:
                raise ValueError(f"task {name!r} has no test rows: pass a tokenised dataset")
            test_dataset = tokenized_split({name: task}, "test", self.processing_class, self.args)[name]
        elif not isinstance(test_dataset, TaskDataset):
            test_dataset = self._tokenized(test_dataset, name, "test")
        with self._without_sampling_strategy():
            return super().get_test_dataloader(self._longest_first(self._with_task(test_dataset, name)))

    @multitask_hook
    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """
        Trainer's loop, with the last merged parameters (inside a plan with forks, these are θ0).

        Metrics and outputs are in the order of the rows, whatever order the loader reads them in. All ranks evaluate
        the same task, and return the metrics of rank 0: a metric may be random, but ranks must stop early, save and
        lower learning rates alike. A loop over a loader of the user's own has the metrics of the task whose rows it
        reads, which are the target's if the trainer does not know them.
        """
        rows: Any = dataloader.dataset
        if self._task_under_evaluation is None:
            with self._metrics_of(self._owner(rows), rows):
                return EvaluationMixin.evaluation_loop(
                    self, dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
                )
        check_evaluation(self.accelerator, self.model)
        same = {
            "the task to evaluate": self._task_under_evaluation,
            "the number of its rows": len(rows) if has_length(rows) else None,
        }
        in_order = rows.in_row_order if isinstance(rows, LengthOrdered) else (lambda metric: metric)
        with (
            explained_waits(self.args, lambda: self.state.global_step),
            self.merged_parameters(),
            temporarily(self, compute_metrics=in_order(self.compute_metrics)),
        ):
            require_equal_ranks(same)
            with noted(f"while task {self._task_under_evaluation!r} was evaluated"):
                output = super().evaluation_loop(
                    dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
                )
            (metrics,) = broadcast_object_list([output.metrics])
        return (rows.restored_output(output) if isinstance(rows, LengthOrdered) else output)._replace(metrics=metrics)

    def _longest_first(self, dataset: TaskDataset) -> TaskDataset:
        """The rows ordered by length, if lengths are known and an evaluation will put its outputs back in order."""
        if self._task_under_evaluation is None or self.args.batch_eval_metrics or not self.args.eval_do_concat_batches:
            return dataset
        lengths = self.task_setup.lengths
        if lengths.of(dataset) is None:
            return dataset
        return LengthOrdered(dataset, lengths.longest_first(dataset, range(len(dataset))))

    def _without_sampling_strategy(self) -> contextlib.AbstractContextManager[None]:
        """Trainer's own grouping would return outputs in the order of its batches."""
        return temporarily(self.args, train_sampling_strategy="random")

    def rehearse_metrics(self) -> None:
        """
        Calls metrics of the user's own on a batch before training, if a setting may not fit them.

        Raises:
            ValueError: If such a function does not give `metric_for_best_model`, or only takes whole arrays although
                `eval_do_concat_batches=False`.
            TypeError: If `preprocess_logits_for_metrics` is no function.
        """
        args, setup = self.args, self.task_setup
        if not callable(self.preprocess_logits_for_metrics or (lambda logits, labels: logits)):
            raise TypeError(
                f"`preprocess_logits_for_metrics` is a {type(self.preprocess_logits_for_metrics).__name__}: pass one "
                "function of logits and labels for all tasks"
            )
        if args.batch_eval_metrics or args.prediction_loss_only:
            return
        for name in setup.evaluated(args.eval_auxiliaries):
            metric = args.metric_for_best_model if args.eval_strategy != "no" else None
            is_best = metric is not None and metric.startswith(f"eval_{name}_") and not metric.endswith("_loss")
            is_best = is_best and type(self).evaluate is EvaluationMixin.evaluate  # else the user's may add scores
            is_asked = is_best or not args.eval_do_concat_batches
            if is_asked and setup.has_own_metrics(name) and setup.eval_datasets.get(name):
                self._rehearse(name, metric if is_best else None)

    def _rehearse(self, name: str, metric: str | None) -> None:
        scores = self._scores_of_a_batch(name)
        if scores is None and not self.args.eval_do_concat_batches:
            with temporarily(self.args, eval_do_concat_batches=True):
                scores = self._scores_of_a_batch(name)
            if scores is not None:
                raise ValueError(
                    f"eval_do_concat_batches=False: pass True, because `compute_metrics` of {name!r} fails on a list "
                    "of batches"
                )
        given = [] if scores is None else [key if key.startswith("eval_") else f"eval_{name}_{key}" for key in scores]
        if metric is not None and given and metric not in given:
            raise ValueError(
                f"metric_for_best_model={metric!r}: `compute_metrics` of {name!r} gives no such metric: pass one of "
                f"{', '.join([*given, f'eval_{name}_loss'])}"
            )

    def _scores_of_a_batch(self, name: str) -> dict[str, float] | None:
        """The task's metrics on its first validation rows, or `None` if they need more or other rows."""
        dataset, kept = self.task_setup.eval_datasets[name], list[Any]()

        def keep(prediction: Any) -> dict[str, float]:
            kept.append(prediction)
            return {}

        rows = range(min(len(dataset), 2 * self.args.eval_batch_size * self.args.world_size))
        with unchanged_generators(devices=[]), self._metrics_of(name, dataset):
            compute_metrics, self.compute_metrics = self.compute_metrics, keep
            loader = self.get_eval_dataloader(TaskDataset(Subset(dataset, rows), dataset.task))
            with temporarily(self.callback_handler, callbacks=[]):
                self.evaluation_loop(loader, description="Rehearsal of metrics")
            try:
                return dict(compute_metrics(kept[0])) if compute_metrics is not None and kept else None
            except Exception:  # a metric may need more rows
                return None

    def _task_of(self, dataset: Any) -> str:
        name = dataset if isinstance(dataset, str) else self._owner(dataset)
        if name not in self.task_setup.names:
            raise ValueError(f"unknown task {name!r}: the tasks are {', '.join(self.task_setup.names)}")
        return name

    def _owner(self, dataset: Any) -> str:
        """The task whose rows a dataset is; for any other, its own or the one under evaluation."""
        is_ours = isinstance(dataset, TaskDataset)
        if is_ours or self._task_under_evaluation is None:
            for name, known in [*(self.eval_dataset or {}).items(), *self.task_setup.train_datasets.items()]:
                if _is_same(dataset, known):
                    return name
        return dataset.task if is_ours else self._task_under_evaluation or self.args.target_task

    def _is_validation_set(self, dataset: Any, name: str) -> bool:
        task = self.task_setup.tasks.get(name)
        raw = task is not None and dataset is task.validation
        return raw or _is_same(dataset, (self.eval_dataset or {}).get(name))

    def _mark_other_rows(self, key: str) -> None:
        """Notes in the log that the last evaluation with this entry was not one of a validation set."""
        entry = next((entry for entry in reversed(self.state.log_history) if key in entry), {})
        entry[OTHER_ROWS] = True

    def _tokenized(self, rows: Any, name: str, split: str) -> Any:
        collate = getattr(self.data_collator, "collators", {}).get(name)
        collate = getattr(collate, "collate", collate)  # inside its checks
        task = self.task_setup.tasks.get(name)
        return tokenized_rows(rows, task, name, split, self.processing_class, collate, self.args)

    def _with_task(self, dataset: Any, name: str) -> TaskDataset:
        if isinstance(dataset, TaskDataset):
            return dataset
        given = TaskDataset(self._tokenized(dataset, name, "validation"), self.task_setup.head_of(name))
        check_dataset(given, self.data_collator)
        check_label_names(given, self.task_setup.heads.get(given.task, {}).get("labels"))
        return given

    @contextlib.contextmanager
    def _metrics_of(self, name: str, dataset: Any) -> Iterator[None]:
        """Sets Trainer's `compute_metrics` and logits preprocessing to the task's for a `with` block."""
        if self._task_under_evaluation is None:
            check_compute_metrics(self.compute_metrics)
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
        # Our collator drops unused columns itself, because it must keep the task's name.
        return data_collator


def _is_same(dataset: Any, known: Any) -> bool:
    """Whether a dataset is one that the trainer knows, as it was given or as the trainer wraps it."""
    return dataset is known or (isinstance(known, TaskDataset) and dataset is known.dataset)
