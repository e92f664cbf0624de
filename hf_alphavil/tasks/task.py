"""A task: its settings, its rows, and their tokenisation and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..kinds import TaskSpec, kind_of
from ..kinds.features import SPLITS, guess_settings, labels_in, splits_of
from .errors import DataError
from .label_ids import with_label_ids
from .labels import check_label_order
from .metrics import columns_of, compute_scores, score_directions
from .spec_checks import check_submission, checked_labels, checked_spec
from .tokenization import tokenize_dataset

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import EvalPrediction, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Task(TaskSpec):
    """
    One task: its settings ([`TaskSpec`], whose arguments come first) and its raw rows per split.

    A task is immutable: [`~Task.select`] and `dataclasses.replace` return new ones.

    Args:
        train, validation, test (`datasets.Dataset`, *optional*):
            Raw rows, columns as on the Hub: the texts, `label` (an id or a name; a float for regression; a list of
            ids or names, or a flag for each label, for several labels at once; for token classification an id or a
            name for each word), `idx`. If a label's name is a number, such as `"1"`, whole numbers are names, and ids
            need a `ClassLabel`. A split whose labels are absent, or all -1 as in GLUE's test sets, is unlabelled.
            Without `labels`, the names are those of the rows' `ClassLabel`, or the values in the training rows,
            sorted.

    Raises:
        ValueError: If settings do not fit together.
        DataError: If a split lacks a column that the task reads.

    Example:

    ```python
    >>> rows = Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]})
    >>> task = Task("mood", "sequence_classification", "text", labels=("negative", "positive"), train=rows)
    >>> task = Task.from_dataset("mood", load_dataset("stanfordnlp/imdb"))  # all that the columns say
    ```
    """

    train: Dataset | None = field(default=None, repr=False)
    validation: Dataset | None = field(default=None, repr=False)
    test: Dataset | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if mappings := [split for split in SPLITS if isinstance(getattr(self, split), Mapping)]:
            raise ValueError(
                f"task {self.name!r}: {mappings[0]} holds {', '.join(map(str, getattr(self, mappings[0])))}: pass one "
                f"split, or all of them as Task.from_dataset({self.name!r}, splits)"
            )
        spec = checked_spec(self.spec)
        kind = kind_of(spec)
        if kind.has_classes:
            splits = {split: rows for split in SPLITS if (rows := getattr(self, split))}
            try:
                if spec.labels is None and kind.learns_labels and splits:
                    rows = next(iter(splits.values()))
                    found = labels_in(rows, spec.kind, spec.problem_type, spec.label_column)
                    spec = replace(spec, labels=found[0] if found is not None else None)
                spec = replace(spec, labels=checked_labels(kind.labels_of(spec, list(splits.values()))))
                check_submission(kind, spec)
                for split, rows in splits.items():
                    check_label_order(rows, spec.label_column, spec.labels)
                    object.__setattr__(self, split, with_label_ids(rows, spec, split))
            except DataError:
                raise
            except ValueError as error:
                raise ValueError(f"task {self.name!r}: {error}") from None
        for setting in fields(spec):
            object.__setattr__(self, setting.name, getattr(spec, setting.name))
        for split in SPLITS:
            self._check_columns(split)

    @classmethod
    def from_spec(cls, spec: TaskSpec, **rows: Dataset) -> Task:
        """
        Makes a task from its settings and rows.

        Args:
            spec (`TaskSpec`): The settings.
            rows (`datasets.Dataset`): `train`, `validation` and `test`, if there are some.
        """
        return cls(**{setting.name: getattr(spec, setting.name) for setting in fields(TaskSpec)}, **rows)

    @classmethod
    def from_dataset(cls, name: str, dataset: Dataset | DatasetDict, **settings: Any) -> Task:
        """
        Makes a task from a dataset, whose columns say what is not given.

        The labels are the column `label` or `labels`, or the only column of the type `ClassLabel`. Floats mean a
        regression, single labels a sequence classification, lists of labels a token classification if the texts are
        lists of words, and otherwise a multi-label classification. The text is the only column of strings, or the two
        columns of a pair that a benchmark names so, such as `sentence1` and `sentence2`.

        Args:
            name (`str`): The task's name.
            dataset (`Dataset` or `DatasetDict`):
                Training rows, or the splits `train`, `validation` and `test`, raw. Other splits are not read.
            settings: Settings of the task, see [`TaskSpec`].

        Raises:
            ValueError: If the columns may mean more than one task. The message lists them and says what to pass.
            DataError: If a label is none of the task's.

        Example:

        ```python
        >>> rows = Dataset.from_dict({"text": ["good", "bad"], "label": ["positive", "negative"]})
        >>> Task.from_dataset("mood", rows).labels
        ('negative', 'positive')
        ```
        """
        splits = splits_of(name, dataset)
        rows: Any = splits
        return cls(name=name, **guess_settings(name, next(iter(splits.values())), settings), **rows)

    def _check_columns(self, split: str) -> None:
        dataset = getattr(self, split)
        if dataset is None:
            return
        needed = list(self.input_columns)
        if split == "train":
            needed += [self.label_column] if kind_of(self).reads_labels else []
            needed += [self.group_column] if self.group_column else []
        if split == "validation":
            needed += self.score_columns
        for column in needed:
            if column not in dataset.column_names:
                raise DataError(
                    f"task {self.name!r}: the {split} split has no column {column!r}.",
                    advice=f"Its columns are {', '.join(dataset.column_names)}.",
                )

    @property
    def spec(self) -> TaskSpec:
        """`TaskSpec`: The settings without the rows."""
        return TaskSpec(**{setting.name: getattr(self, setting.name) for setting in fields(TaskSpec)})

    @property
    def has_one_class(self) -> bool:
        """`bool`: Whether a row's label is one class of several, by which rows can be stratified."""
        return kind_of(self).has_one_class

    @property
    def score_columns(self) -> list[str]:
        """`list[str]`: Columns that the metrics read beside predictions and labels, such as a question's id."""
        return columns_of(self.metrics)

    @property
    def score_directions(self) -> dict[str, bool]:
        """`dict[str, bool]`: The scores of [`~Task.compute_metrics`], and whether a greater one is better."""
        return score_directions(self.metrics) | {self.main_metric: bool(self.greater_is_better)}

    @property
    def head(self) -> dict[str, Any]:
        """`dict`: The head's description for [`MultitaskModel.from_encoder`]: `kind`, `labels`, `problem_type`."""
        return {
            "kind": self.kind,
            "labels": list(self.labels) if self.labels is not None else None,
            "problem_type": self.problem_type,
        }

    def split(self, name: str) -> Dataset:
        """
        The raw rows of the split `name`.

        Raises:
            ValueError: If there is no such split.
        """
        dataset = getattr(self, name) if name in SPLITS else None
        if dataset is None:
            present = [split for split in SPLITS if getattr(self, split) is not None]
            raise ValueError(f"task {self.name!r} has no split {name!r}; it has {', '.join(present) or 'none'}")
        return dataset

    def tokenize(
        self,
        split: str,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        identity: str | None = None,
    ) -> Dataset:
        """
        Tokenises a split; the result is cached on disk between runs.

        Args:
            split (`str`):
                `"train"`, `"validation"` or `"test"`.
            tokenizer (`PreTrainedTokenizerBase`):
                The tokenizer.
            max_length (`int`, *optional*):
                Longest input in tokens, special tokens included; longer ones are truncated, the longer text of a pair
                first. Defaults to the tokenizer's own limit, which holds in any case.
            identity (`str`, *optional*):
                The tokenizer's [`tokenizer_identity`], for many splits. By default, it is computed.

        Returns:
            `datasets.Dataset`: The tokenizer's model inputs, unpadded (for multiple choice, one list per choice), and
            `labels` where the split is labelled: an id, a float, for several labels at once a float 0 or 1 for each
            label, for token classification an id at each word's first sub-word and -100 elsewhere. Beside them the
            columns that the metrics read, and for token classification `word_positions`, the place of each word's
            first sub-word in `input_ids` (-1 where it was cut off).

        Raises:
            DataError: If a text is not a string, a label is not the task's, or training rows have no labels.
        """
        tokenized = tokenize_dataset(
            self.split(split), tokenizer, max_length, self.spec, f"{self.name}-{split}", self.score_columns, identity
        )
        if split == "train" and kind_of(self).reads_labels and "labels" not in tokenized.column_names:
            raise DataError(f"task {self.name!r}: the train split has no labels, only -1 or nothing.")
        return tokenized

    def compute_metrics(
        self, eval_prediction: EvalPrediction, rows: Dataset | Mapping[str, Sequence[Any]] | None = None
    ) -> dict[str, float]:
        """
        `Trainer`'s `compute_metrics`: the task's metrics, and `combined_score`, their mean, if there are several
        with the same direction.

        Args:
            eval_prediction (`EvalPrediction`):
                `predictions` holds logits of shape `(rows, labels)`, `(rows, choices)` or, for regression, `(rows, 1)`
                or `(rows,)`; of a tuple, only the first entry is read. `label_ids` has shape `(rows,)`. For several
                labels at once both are of shape `(rows, labels)`; for token classification `(rows, tokens, labels)`
                and `(rows, tokens)`, -100 where nothing is predicted; for masked language modelling predicted
                ids of shape `(rows, tokens)` (or logits) and `(rows, tokens)`.
            rows (`datasets.Dataset` or `dict[str, Sequence]`, *optional*):
                What was predicted, row by row, raw or tokenised: for metrics that need `score_columns`, such as exact
                match over all answers to a question. Defaults to the validation split.

        Returns:
            `dict[str, float]`: Fractions, not percentages; NaN throughout when there are no rows.

        Raises:
            ValueError: If rows are needed and there are more or fewer of them than predictions.
        """
        references = eval_prediction.label_ids
        references = references[0] if isinstance(references, tuple) else references
        rows = rows if rows is not None else self.validation
        return compute_scores(self.metrics, kind_of(self), eval_prediction.predictions, references, self.labels, rows)

    def select(
        self,
        max_train_samples: int | None = None,
        max_eval_samples: int | None = None,
        seed: int = 42,
        max_predict_samples: int | None = None,
    ) -> Task:
        """
        A new task with fewer rows.

        Args:
            max_train_samples (`int`, *optional*):
                Training rows to draw at random; a smaller draw is the beginning of a larger one.
            max_eval_samples (`int`, *optional*):
                Rows to keep of the validation split: the first ones, as `run_glue.py` does.
            seed (`int`, *optional*, defaults to 42): Seed of the draw.
            max_predict_samples (`int`, *optional*): Rows to keep of the test split: the first ones.

        Returns:
            `Task`: A new task; this one stays as it is.

        Raises:
            ValueError: If a number is below 1.
        """
        numbers = {
            "max_train_samples": max_train_samples,
            "max_eval_samples": max_eval_samples,
            "max_predict_samples": max_predict_samples,
        }
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ValueError(f"{name}={number}: pass 1 or more, or None for all rows")
        limited: dict[str, Dataset] = {}
        if max_train_samples is not None and self.train is not None and max_train_samples < len(self.train):
            limited["train"] = self.train.shuffle(seed=seed).select(range(max_train_samples))
        for split, limit in (("validation", max_eval_samples), ("test", max_predict_samples)):
            rows = getattr(self, split)
            if limit is not None and rows is not None and limit < len(rows):
                limited[split] = rows.select(range(limit))
        return replace(self, **limited)  # type: ignore[arg-type]
