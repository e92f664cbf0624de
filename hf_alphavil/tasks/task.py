"""What the trainer needs to know of one task: its rows, its head, its tokenisation and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from .errors import DataError
from .metrics import METRICS, classification_predictions, compute_scores, regression_predictions
from .submission import SubmissionFormat
from .tokenization import TextFormat, tokenize_dataset

if TYPE_CHECKING:
    from transformers import EvalPrediction, PreTrainedTokenizerBase

SPLITS = ("train", "validation", "test")
KINDS = ("sequence_classification", "regression", "multiple_choice")
PROBLEM_TYPES = {"sequence_classification": "single_label_classification", "regression": "regression"}


@dataclass
class Task:
    """
    One task: its raw rows per split, and how they become model inputs, scores and a head.

    Args:
        name (`str`):
            The task's name, such as `"rte"`: its head, its logs and its files carry it.
        kind (`str`):
            `"sequence_classification"`, `"regression"` or `"multiple_choice"`.
        text_columns (`tuple[str, ...]`, *optional*):
            The one or two columns that a sequence task reads.
        labels (`tuple[str, ...]`, *optional*):
            Label names in id order, the Hub's order. `None` for regression.
        metrics (`tuple[str, ...]`, *optional*):
            Among `"accuracy"`, `"f1"`, `"matthews_correlation"`, `"pearson"` and `"spearmanr"`. Defaults to accuracy,
            for regression to both correlations.
        main_metric (`str`, *optional*):
            The key of [`~Task.compute_metrics`]'s result that chooses the best model. Defaults to the only metric, or
            to `"combined_score"`, the mean, where there are several.
        greater_is_better (`bool`, *optional*, defaults to `True`):
            Whether a larger main metric is better.
        group_column (`str`, *optional*):
            Rows with equal text here share a passage and are never split between training and a held-out slice.
        train, validation, test (`datasets.Dataset`, *optional*):
            Raw rows, columns as on the Hub: the texts, `label` (an id, or a float for regression), `idx`. A split
            whose labels are absent, or all -1 as in GLUE's test sets, is unlabelled.
        label_column (`str`, *optional*, defaults to `"label"`):
            The column that holds the label.
        context_template (`str`, *optional*):
            Multiple choice only: the text before every choice, as in `"{premise} {question}"`.
        value_maps (`dict[str, dict[str, str]]`, *optional*):
            Multiple choice only: values to replace before they enter the template, by column.
        choice_columns (`tuple[str, ...]`, *optional*):
            Multiple choice only: the columns of the choices, in label order.
        score_range (`tuple[float, float]`, *optional*):
            Regression only: the range of valid scores; submissions are clipped to it.
        submission (`SubmissionFormat`, *optional*):
            The leaderboard's form; [`write_submission`] has a default.

    Raises:
        `ValueError`: for settings that do not fit together.
        [`DataError`]: for a split that lacks a column that the task reads.

    Example:

    ```python
    >>> rows = Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]})
    >>> task = Task("mood", "sequence_classification", ("text",), labels=("negative", "positive"), train=rows)
    ```
    """

    name: str
    kind: str
    text_columns: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ()
    main_metric: str = ""
    greater_is_better: bool = True
    group_column: str | None = None
    train: Dataset | None = field(default=None, repr=False)
    validation: Dataset | None = field(default=None, repr=False)
    test: Dataset | None = field(default=None, repr=False)
    label_column: str = "label"
    context_template: str | None = None
    value_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    choice_columns: tuple[str, ...] = ()
    score_range: tuple[float, float] | None = None
    submission: SubmissionFormat | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: unknown kind {self.kind!r}; pass one of {', '.join(KINDS)}")
        self.text_columns, self.choice_columns = tuple(self.text_columns), tuple(self.choice_columns)
        if self.kind == "multiple_choice":
            if self.context_template is None or len(self.choice_columns) < 2:
                raise ValueError(f"task {self.name!r}: pass a context_template and two or more choice_columns")
        elif len(self.text_columns) not in (1, 2):
            raise ValueError(f"task {self.name!r}: pass one or two text_columns, not {self.text_columns}")
        self._check_labels()
        default_metrics = ("pearson", "spearmanr") if self.kind == "regression" else ("accuracy",)
        self.metrics = tuple(self.metrics) or default_metrics
        for metric in self.metrics:
            if metric not in METRICS:
                raise ValueError(f"task {self.name!r}: unknown metric {metric!r}; known are {', '.join(METRICS)}")
            if METRICS[metric].for_regression != (self.kind == "regression"):
                raise ValueError(f"task {self.name!r}: metric {metric!r} does not fit the kind {self.kind!r}")
        keys = (*self.metrics, "combined_score") if len(self.metrics) > 1 else self.metrics
        self.main_metric = self.main_metric or keys[-1]
        if self.main_metric not in keys:
            raise ValueError(f"task {self.name!r}: main_metric {self.main_metric!r} is none of {', '.join(keys)}")
        for split in SPLITS:
            self._check_columns(split)

    def _check_labels(self) -> None:
        if self.kind == "regression":
            if self.labels is not None:
                raise ValueError(f"task {self.name!r}: a regression has no labels; pass labels=None")
            return
        if self.labels is None and self.kind == "multiple_choice":
            self.labels = self.choice_columns
        self.labels = tuple(self.labels or ())
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"task {self.name!r}: pass two or more distinct labels, not {self.labels}")

    def _check_columns(self, split: str) -> None:
        dataset = getattr(self, split)
        if dataset is None:
            return
        needed = self.format.columns
        if split == "train":
            needed += [self.label_column, *([self.group_column] if self.group_column else [])]
        for column in needed:
            if column not in dataset.column_names:
                raise DataError(
                    f"task {self.name!r}: the {split} split has no column {column!r}.",
                    advice=f"Its columns are {', '.join(dataset.column_names)}.",
                )

    @property
    def format(self) -> TextFormat:
        """How a row becomes model inputs (`TextFormat`)."""
        return TextFormat(
            kind=self.kind,
            text_columns=self.text_columns,
            num_labels=len(self.labels) if self.labels is not None else None,
            label_column=self.label_column,
            context_template=self.context_template,
            value_maps={column: dict(values) for column, values in self.value_maps.items()},
            choice_columns=self.choice_columns,
        )

    @property
    def head(self) -> dict[str, Any]:
        """What [`MultitaskModel.from_encoder`] reads: `kind`, `labels` (a list or `None`) and `problem_type`."""
        return {
            "kind": self.kind,
            "labels": list(self.labels) if self.labels is not None else None,
            "problem_type": PROBLEM_TYPES.get(self.kind),
        }

    def split(self, name: str) -> Dataset:
        """
        The raw rows of the split `name`.

        Raises:
            `ValueError`: if there is no such split.
        """
        dataset = getattr(self, name) if name in SPLITS else None
        if dataset is None:
            present = [split for split in SPLITS if getattr(self, split) is not None]
            raise ValueError(f"task {self.name!r} has no split {name!r}; it has {', '.join(present) or 'none'}")
        return dataset

    def tokenize(self, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
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

        Returns:
            `datasets.Dataset`: the tokenizer's model inputs, unpadded (for multiple choice, one list per choice), and
            `labels` where the split is labelled.

        Raises:
            [`DataError`]: for a text that is no string, a label that is not the task's, and training rows without
            labels.
        """
        tokenized = tokenize_dataset(self.split(split), tokenizer, max_length, self.format, f"{self.name}-{split}")
        if split == "train" and "labels" not in tokenized.column_names:
            raise DataError(f"task {self.name!r}: the train split has no labels, only -1 or nothing.")
        return tokenized

    def compute_metrics(self, eval_prediction: EvalPrediction) -> dict[str, float]:
        """
        `Trainer`'s `compute_metrics`: the task's metrics, and `combined_score`, their mean, where there are several.

        Args:
            eval_prediction (`EvalPrediction`):
                `predictions` holds logits of shape `(rows, labels)`, `(rows, choices)` or, for regression, `(rows, 1)`
                or `(rows,)`; of a tuple the first entry counts. `label_ids` has shape `(rows,)`.

        Returns:
            `dict[str, float]`: fractions, not percentages; NaN throughout when there are no rows.
        """
        predictions, references = eval_prediction.predictions, eval_prediction.label_ids
        references = references[0] if isinstance(references, tuple) else references
        read = regression_predictions if self.kind == "regression" else classification_predictions
        return compute_scores(self.metrics, read(predictions), references, num_labels=len(self.labels or ()))

    def select(
        self, max_train_samples: int | None = None, max_eval_samples: int | None = None, seed: int = 42
    ) -> Task:
        """
        A new task with fewer rows.

        Args:
            max_train_samples (`int`, *optional*):
                Training rows to draw at random; a smaller draw is the beginning of a larger one.
            max_eval_samples (`int`, *optional*):
                Rows to keep of the validation and of the test split: the first ones, as `run_glue.py` does.
            seed (`int`, *optional*, defaults to 42):
                Seeds the draw.

        Returns:
            `Task`: a new task; this one stays as it is.
        """
        limited: dict[str, Dataset] = {}
        if max_train_samples is not None and self.train is not None and max_train_samples < len(self.train):
            limited["train"] = self.train.shuffle(seed=seed).select(range(max_train_samples))
        for split in ("validation", "test"):
            rows = getattr(self, split)
            if max_eval_samples is not None and rows is not None and max_eval_samples < len(rows):
                limited[split] = rows.select(range(max_eval_samples))
        return replace(self, **limited)  # type: ignore[arg-type]
