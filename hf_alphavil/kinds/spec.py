"""A task's settings, declared once for `Task`'s arguments, the keys of its YAML file, their checks and their table."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from .submission_format import SubmissionFormat
from .texts import template_columns
from .yaml_keys import FLAG, SHARE, TEXT, TEXTS, is_a, is_list_of, is_map_of, yaml_key


@dataclass(frozen=True)
class TaskSpec:
    """
    The settings of a task, without its rows.

    Args:
        name (`str`): The task's name, such as `"rte"`. It is part of the names of its head, its logs and its files.
        kind (`str`):
            A key of `KINDS`: `"sequence_classification"`, `"regression"`, `"multiple_choice"`,
            `"token_classification"` or `"masked_lm"`.
        text_columns (`tuple[str, ...]`, *optional*):
            The one or two columns that the encoder reads, the second as the pair's second text. Token classification:
            the one column of the words, a list of strings or a string of words between white space. Multiple choice:
            none.
        labels (`tuple[str, ...]`, *optional*):
            Label names in id order, the Hub's order. `None` for regression and masked language modelling.
        metrics (`tuple[str, ...]`, *optional*):
            Keys of `METRICS` that fit the kind. Defaults to accuracy; to both correlations for regression; to
            `f1_micro` for multi-label classification; to `span_f1` for token classification.
        main_metric (`str`, *optional*):
            The key of [`~Task.compute_metrics`]'s result that chooses the best model. Defaults to the only metric, or
            to `"combined_score"`, the mean, if there are several.
        greater_is_better (`bool`, *optional*):
            Whether a larger main metric is better. Defaults to the metric's own direction.
        group_column (`str`, *optional*):
            Rows with equal text here share a passage and are never split between training and a held-out slice.
        label_column (`str`, *optional*, defaults to `"label"`):
            The column that holds the label.
        problem_type (`str`, *optional*):
            `"multi_label_classification"` for a sequence classification with any number of labels at once. Defaults
            to the kind's own.
        text_templates (`tuple[str, ...]`, *optional*):
            Instead of `text_columns`, one or two texts joined from any number of columns, as
            `("{paragraph}", "{question} {answer}")`.
        value_maps (`dict[str, dict[str, str]]`, *optional*):
            Values to replace before they enter a template, by column.
        context_template (`str`, *optional*):
            Multiple choice only: the text before every choice, as in `"{premise} {question}"`.
        choice_columns (`tuple[str, ...]`, *optional*):
            Multiple choice only: the columns of the choices, in label order. `None` and empty strings at the end are
            not choices, so rows may have fewer than others.
        choices_column (`str`, *optional*):
            Multiple choice only: instead of `choice_columns`, the one column that holds a row's list of choices, two
            or more.
        score_range (`tuple[float, float]`, *optional*):
            Regression only: the range of valid scores; submissions are clipped to it.
        mlm_probability (`float`, *optional*, defaults to 0.15):
            Masked language modelling only: the share of tokens to predict.
        submission (`SubmissionFormat`, *optional*):
            The format of the leaderboard's prediction file. [`write_submission`] has a default.
        head_task (`str`, *optional*):
            The task whose head this task is evaluated with, such as MNLI for its mismatched rows and for GLUE's AX. A
            task with a `head_task` is never trained.
        license (`str`, *optional*):
            The licence of the rows, as a license id of the Hub, for the model card.
        dataset (`str`, *optional*), dataset_config (`str`, *optional*):
            The Hub id of the dataset that the rows are from, such as `"nyu-mll/glue"`, and its configuration, for the
            model card. [`load_tasks`] fills them in.
    """

    name: str
    kind: str = field(metadata=yaml_key(TEXT, "what a row's label is", required=True))
    text_columns: tuple[str, ...] = field(
        default=(), metadata=yaml_key(TEXTS, "the column of the text, or the two columns of a pair")
    )
    labels: tuple[str, ...] | None = field(
        default=None,
        metadata=yaml_key(
            (is_list_of(str, int), "a list of strings, with yes, no, true, false, on and off in quotes"),
            "the labels' names, in id order. Default: the labels of the training rows, sorted",
        ),
    )
    metrics: tuple[str, ...] = field(default=(), metadata=yaml_key(TEXTS, "the metrics to report ([below](#metrics))"))
    main_metric: str = field(default="", metadata=yaml_key(TEXT, "the metric that chooses the best model"))
    greater_is_better: bool | None = field(
        default=None,
        metadata=yaml_key(FLAG, "whether a larger `main_metric` is better. Default: the metric's own direction"),
    )
    group_column: str | None = field(
        default=None,
        metadata=yaml_key(
            TEXT,
            "the column of what rows share, such as a passage: rows with equal values are never split between "
            "training and a held-out slice",
        ),
    )
    label_column: str = field(
        default="label",
        metadata=yaml_key(
            TEXT,
            "the column of the label (`label`): an id, counted from 0, or a name, in the same form in every row. "
            "Whole numbers are ids, but names if a label's name is a number, such as `1`. "
            "Several labels, and the labels of words, are a list or a string. Several labels can also be flags, one "
            "for each of `labels`, as `[1, 0, 1]` (for two labels, `true` and `false`). Flags in columns of "
            "their own are not read",
        ),
    )
    problem_type: str | None = field(
        default=None, metadata=yaml_key(TEXT, "`multi_label_classification` if a row can have any number of labels")
    )
    text_templates: tuple[str, ...] = field(
        default=(),
        metadata=yaml_key(
            TEXTS,
            'instead of `text_columns`: one or two texts joined from any columns, as `["{title}: {body}", '
            '"{question}"]`',
        ),
    )
    value_maps: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict,
        metadata=yaml_key(
            (is_map_of(is_map_of(is_a(str))), "a mapping from columns to mappings from value to value"),
            "values to replace before they enter a template, as `{question: {cause: What was the cause?}}`: list "
            "every value of the column",
        ),
    )
    context_template: str | None = field(
        default=None, metadata=yaml_key(TEXT, "multiple choice: the text before each choice")
    )
    choice_columns: tuple[str, ...] = field(
        default=(),
        metadata=yaml_key(
            TEXTS,
            "multiple choice: the columns of the choices. `null` or an empty text at the end is not a choice: rows "
            "may have fewer than others. The label is the choice's number, counted from 0, or its column's name",
        ),
    )
    choices_column: str | None = field(
        default=None,
        metadata=yaml_key(TEXT, "multiple choice: instead of `choice_columns`, the column of a row's list of choices"),
    )
    score_range: tuple[float, float] | None = field(
        default=None,
        metadata=yaml_key(
            ((lambda value: is_list_of(int, float)(value) and len(value) == 2), "two numbers, as [0, 5]"),
            "regression: labels outside it are refused, and predictions are clipped to it",
        ),
    )
    mlm_probability: float = field(
        default=0.15, metadata=yaml_key(SHARE, "masked language modelling: the share of tokens to predict (0.15)")
    )
    submission: SubmissionFormat | None = field(
        default=None,
        metadata=yaml_key(
            (is_a(dict), "a mapping with the key file_name"), "the form of the prediction file, with the keys below"
        ),
    )
    head_task: str | None = field(
        default=None,
        metadata=yaml_key(
            ((lambda value: is_a(str)(value) or is_list_of(str)(value)), "a task's name, or a list of them"),
            "the task whose head this one is evaluated with; it is never trained itself",
        ),
    )
    license: str | None = field(
        default=None,
        metadata=yaml_key(TEXT, "the licence of the data, as a license id of the Hub, for the model card"),
    )
    dataset: str | None = None
    dataset_config: str | None = None

    @functools.cached_property  # every row asks for them
    def input_columns(self) -> list[str]:
        """`list[str]`: The columns of texts that a row must have."""
        named = [*self.text_columns, *(name for template in self.templates for name in template_columns(template))]
        choices = [self.choices_column] if self.choices_column else self.choice_columns
        return list(dict.fromkeys([*named, *choices]))

    @property
    def templates(self) -> tuple[str, ...]:
        """`tuple[str, ...]`: All templates."""
        return (*self.text_templates, *([self.context_template] if self.context_template is not None else []))

    @property
    def is_multi_label(self) -> bool:
        """`bool`: Whether a row may have any number of labels at once."""
        return self.problem_type == "multi_label_classification"

    @property
    def num_labels(self) -> int | None:
        """`int`, *optional*: The number of labels; `None` if there are none, or if their names are not known yet."""
        return len(self.labels) if self.labels is not None else None
