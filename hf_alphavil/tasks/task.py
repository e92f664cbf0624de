"""What the trainer needs to know of one task: its rows, its head, its tokenisation and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from .errors import DataError
from .metrics import METRICS, can_combine, compute_scores
from .submission import SubmissionFormat
from .task_checks import (
    DEFAULT_METRICS,
    KINDS,
    PROBLEM_TYPES,
    check_labels,
    check_submission_of_kind,
    check_texts_of_kind,
)
from .text_format import TextFormat
from .tokenization import tokenize_dataset

if TYPE_CHECKING:
    from transformers import EvalPrediction, PreTrainedTokenizerBase

SPLITS = ("train", "validation", "test")


@dataclass
class Task:
    """
    One task: its raw rows per split, and how they become model inputs, scores and a head.

    Args:
        name (`str`):
            The task's name, such as `"rte"`: its head, its logs and its files carry it.
        kind (`str`):
            `"sequence_classification"`, `"regression"`, `"multiple_choice"`, `"token_classification"` or
            `"masked_lm"`.
        text_columns (`tuple[str, ...]`, *optional*):
            The one or two columns that the encoder reads, the second as the pair's second text. Of a token
            classification the one column of the words: a list of strings, or a string of words between white space.
            Of a multiple choice nothing.
        labels (`tuple[str, ...]`, *optional*):
            Label names in id order, the Hub's order. `None` for regression and masked language modelling.
        metrics (`tuple[str, ...]`, *optional*):
            Keys of `METRICS` that fit the kind. Defaults to accuracy; to both correlations for regression, to
            `f1_micro` for several labels at once, to `span_f1` for token classification.
        main_metric (`str`, *optional*):
            The key of [`~Task.compute_metrics`]'s result that chooses the best model. Defaults to the only metric, or
            to `"combined_score"`, the mean, where there are several.
        greater_is_better (`bool`, *optional*):
            Whether a larger main metric is better. Defaults to what the metric says.
        group_column (`str`, *optional*):
            Rows with equal text here share a passage and are never split between training and a held-out slice.
        train, validation, test (`datasets.Dataset`, *optional*):
            Raw rows, columns as on the Hub: the texts, `label` (an id; a float for regression; a list of ids for
            several labels at once, and for token classification one for each word), `idx`. A split whose labels are
            absent, or all -1 as in GLUE's test sets, is unlabelled.
        label_column (`str`, *optional*, defaults to `"label"`):
            The column that holds the label.
        context_template (`str`, *optional*):
            Multiple choice only: the text before every choice, as in `"{premise} {question}"`.
        value_maps (`dict[str, dict[str, str]]`, *optional*):
            Values to replace before they enter a template, by column.
        choice_columns (`tuple[str, ...]`, *optional*):
            Multiple choice only: the columns of the choices, in label order. `None` or an empty string at the end is
            no choice, so that rows may have fewer than others.
        score_range (`tuple[float, float]`, *optional*):
            Regression only: the range of valid scores; submissions are clipped to it.
        submission (`SubmissionFormat`, *optional*):
            The leaderboard's form; [`write_submission`] has a default.
        text_templates (`tuple[str, ...]`, *optional*):
            Instead of `text_columns`, one or two texts joined from any number of columns, as
            `("{paragraph}", "{question} {answer}")`.
        problem_type (`str`, *optional*):
            `"multi_label_classification"` for a sequence classification with any number of labels at once. Defaults
            to what the kind says.
        choices_column (`str`, *optional*):
            Multiple choice only: instead of `choice_columns`, the one column that holds a row's list of choices, two
            or more.
        mlm_probability (`float`, *optional*, defaults to 0.15):
            Masked language modelling only: the share of tokens to predict.
        head_task (`str`, *optional*):
            The task whose head this one is evaluated with, as MNLI's for its mismatched rows and for GLUE's AX. Such a
            task is never trained.

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
    greater_is_better: bool | None = None
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
    text_templates: tuple[str, ...] = ()
    problem_type: str | None = None
    choices_column: str | None = None
    mlm_probability: float = 0.15
    head_task: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: unknown kind {self.kind!r}; pass one of {', '.join(KINDS)}")
        for name in ("text_columns", "text_templates", "choice_columns", "metrics"):
            setattr(self, name, tuple(getattr(self, name)))
        self.problem_type = self.problem_type or PROBLEM_TYPES.get(self.kind)
        check_texts_of_kind(self)
        self.labels = check_labels(self)
        self._check_metrics()
        check_submission_of_kind(self)
        for split in SPLITS:
            self._check_columns(split)

    def _check_metrics(self) -> None:
        self.metrics = self.metrics or DEFAULT_METRICS[self._scored_as]
        for metric in self.metrics:
            if metric not in METRICS:
                raise ValueError(f"task {self.name!r}: unknown metric {metric!r}; known are {', '.join(METRICS)}")
            if self._scored_as not in METRICS[metric].kinds:
                raise ValueError(f"task {self.name!r}: metric {metric!r} does not fit the kind {self._scored_as!r}")
        combined = can_combine(self.metrics)
        if len(self.metrics) > 1 and not combined and self.main_metric in ("", "combined_score"):
            raise ValueError(
                f"task {self.name!r}: of {', '.join(self.metrics)} more is better in some and worse in others, so "
                "that they have no mean, combined_score; pass one of them as main_metric"
            )
        keys = (*self.metrics, "combined_score") if combined else self.metrics
        self.main_metric = self.main_metric or keys[-1]
        if self.main_metric not in keys:
            raise ValueError(f"task {self.name!r}: main_metric {self.main_metric!r} is none of {', '.join(keys)}")
        if self.greater_is_better is None:
            judged = METRICS.get(self.main_metric, METRICS[self.metrics[0]])
            self.greater_is_better = judged.greater_is_better

    def _check_columns(self, split: str) -> None:
        dataset = getattr(self, split)
        if dataset is None:
            return
        needed = self.format.columns
        if split == "train":
            needed += [] if self.kind == "masked_lm" else [self.label_column]
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
            text_templates=self.text_templates,
            problem_type=self.problem_type,
            choices_column=self.choices_column,
            score_columns=tuple(self.score_columns),
        )

    @property
    def is_multi_label(self) -> bool:
        """`bool`: Whether a row may have any number of labels at once."""
        return self.problem_type == "multi_label_classification"

    @property
    def _scored_as(self) -> str:
        """What decides which metrics fit: several labels at once are a kind of their own."""
        return "multi_label_classification" if self.is_multi_label else self.kind

    @property
    def has_one_class(self) -> bool:
        """`bool`: Whether a row's label is one class of several, by which rows can be stratified."""
        return self.kind in ("sequence_classification", "multiple_choice") and not self.is_multi_label

    @property
    def score_columns(self) -> list[str]:
        """`list[str]`: Columns that the metrics read beside predictions and labels, such as a question's id."""
        return list(dict.fromkeys(column for metric in self.metrics for column in METRICS[metric].columns))

    @property
    def head(self) -> dict[str, Any]:
        """What [`MultitaskModel.from_encoder`] reads: `kind`, `labels` (a list or `None`) and `problem_type`."""
        return {
            "kind": self.kind,
            "labels": list(self.labels) if self.labels is not None else None,
            "problem_type": self.problem_type,
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
            `labels` where the split is labelled: an id, a float, for several labels at once a float 0 or 1 for each
            label, for token classification an id at each word's first sub-word and -100 elsewhere. Beside them the
            columns that the metrics read, and for token classification `word_positions`, where each word's first
            sub-word stands in `input_ids` (-1 where it was cut off).

        Raises:
            [`DataError`]: for a text that is no string, a label that is not the task's, and training rows without
            labels.
        """
        tokenized = tokenize_dataset(self.split(split), tokenizer, max_length, self.format, f"{self.name}-{split}")
        if split == "train" and self.kind != "masked_lm" and "labels" not in tokenized.column_names:
            raise DataError(f"task {self.name!r}: the train split has no labels, only -1 or nothing.")
        return tokenized

    def compute_metrics(self, eval_prediction: EvalPrediction, rows: Dataset | None = None) -> dict[str, float]:
        """
        `Trainer`'s `compute_metrics`: the task's metrics, and `combined_score`, their mean, where there are several
        and more is better in all of them or in none.

        Args:
            eval_prediction (`EvalPrediction`):
                `predictions` holds logits of shape `(rows, labels)`, `(rows, choices)` or, for regression, `(rows, 1)`
                or `(rows,)`; of a tuple the first entry counts. `label_ids` has shape `(rows,)`. For several labels at
                once both are of shape `(rows, labels)`; for token classification `(rows, tokens, labels)` and
                `(rows, tokens)`, -100 where nothing is to be predicted; for masked language modelling predicted ids of
                shape `(rows, tokens)` (or logits) and `(rows, tokens)`.
            rows (`datasets.Dataset`, *optional*):
                What was predicted, row by row, raw or tokenised: for metrics that need `score_columns`, such as exact
                match over all answers to a question. Defaults to the validation split.

        Returns:
            `dict[str, float]`: fractions, not percentages; NaN throughout when there are no rows.

        Raises:
            `ValueError`: for a number of rows other than that of the predictions, where rows are needed.
        """
        references = eval_prediction.label_ids
        references = references[0] if isinstance(references, tuple) else references
        rows = rows if rows is not None else self.validation
        return compute_scores(
            self.metrics, self._scored_as, eval_prediction.predictions, references, self.labels, rows
        )

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

        Raises:
            `ValueError`: for a number below 1.
        """
        for name, number in (("max_train_samples", max_train_samples), ("max_eval_samples", max_eval_samples)):
            if number is not None and number < 1:
                raise ValueError(f"{name}={number}: pass 1 or more, or None for all rows")
        limited: dict[str, Dataset] = {}
        if max_train_samples is not None and self.train is not None and max_train_samples < len(self.train):
            limited["train"] = self.train.shuffle(seed=seed).select(range(max_train_samples))
        for split in ("validation", "test"):
            rows = getattr(self, split)
            if max_eval_samples is not None and rows is not None and max_eval_samples < len(rows):
                limited[split] = rows.select(range(max_eval_samples))
        return replace(self, **limited)  # type: ignore[arg-type]
