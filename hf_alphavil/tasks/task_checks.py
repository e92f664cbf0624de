"""Which settings of a [`Task`] fit its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text_format import check_template, template_columns

if TYPE_CHECKING:
    from .task import Task

KINDS = ("sequence_classification", "regression", "multiple_choice", "token_classification", "masked_lm")
#: Kinds that have no labels to name.
KINDS_WITHOUT_CLASSES = ("regression", "masked_lm")
#: The problem type that goes without saying, by kind.
PROBLEM_TYPES = {"sequence_classification": "single_label_classification", "regression": "regression"}
#: By kind, several labels at once as a kind of its own.
DEFAULT_METRICS = {
    "sequence_classification": ("accuracy",),
    "multi_label_classification": ("f1_micro",),
    "regression": ("pearson", "spearmanr"),
    "multiple_choice": ("accuracy",),
    "token_classification": ("span_f1",),
    "masked_lm": ("accuracy",),
}


def check_texts_of_kind(task: Task) -> None:
    """
    Checks the columns and templates that a task reads.

    Raises:
        `ValueError`: for settings that do not fit the kind, or each other.
    """
    place, kind = f"task {task.name!r}", task.kind
    if kind == "multiple_choice":
        if task.text_columns or task.text_templates:
            raise ValueError(f"{place}: a multiple choice reads context_template, not text_columns or text_templates")
        if task.context_template is None or (len(task.choice_columns) < 2) == (task.choices_column is None):
            raise ValueError(
                f"{place}: pass a context_template and two or more choice_columns, or the one choices_column that "
                "holds lists"
            )
    else:
        if task.context_template is not None or task.choice_columns or task.choices_column:
            raise ValueError(f"{place}: choices and context_template are for the kind 'multiple_choice', not {kind!r}")
        texts = task.text_columns or task.text_templates
        if bool(task.text_columns) == bool(task.text_templates) or len(texts) > 2:
            raise ValueError(
                f"{place}: pass one or two text_columns, or one or two text_templates, not {task.text_columns} and "
                f"{task.text_templates}"
            )
        if kind == "token_classification" and len(task.text_columns) != 1:
            raise ValueError(f"{place}: token classification reads one text column, the words")
    read: set[str] = set()
    for template in (*task.text_templates, *([task.context_template] if task.context_template else [])):
        try:
            check_template(template)
        except ValueError as error:
            raise ValueError(f"{place}: the template {template!r} is not one: {error}") from None
        read |= set(template_columns(template))
    if unread := set(task.value_maps) - read:
        raise ValueError(f"{place}: value_maps of {', '.join(sorted(unread))}, which no template names")
    if not 0 < task.mlm_probability < 1:
        raise ValueError(f"{place}: mlm_probability={task.mlm_probability}: pass a share between 0 and 1")


def check_labels(task: Task) -> tuple[str, ...] | None:
    """
    The labels of a task, in id order; of a multiple choice without labels, the names of its choices.

    Raises:
        `ValueError`: for labels or a problem type that do not fit the kind.
    """
    place = f"task {task.name!r}"
    allowed = {PROBLEM_TYPES.get(task.kind)}
    if task.kind == "sequence_classification":
        allowed.add("multi_label_classification")
    if task.problem_type not in allowed:
        fitting = ", ".join(sorted(name for name in allowed if name)) or "none"
        raise ValueError(
            f"{place}: problem_type {task.problem_type!r} does not fit the kind {task.kind!r}; pass {fitting}"
        )
    if task.kind in KINDS_WITHOUT_CLASSES:
        if task.labels is not None:
            raise ValueError(f"{place}: a task of the kind {task.kind!r} has no labels; pass labels=None")
        return None
    labels = task.labels
    if labels is None and task.kind == "multiple_choice":
        labels = task.choice_columns or _numbered_choices(task)
    labels = tuple(map(str, labels or ()))
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"{place}: pass two or more distinct labels, not {labels}")
    if broken := [label for label in labels if len(label.split("\t")) + len(label.splitlines()) > 2]:
        raise ValueError(f"{place}: the label {broken[0]!r} holds a tab or a line end, which end fields and lines")
    if task.kind == "multiple_choice":
        choices = len(task.choice_columns or _numbered_choices(task))
        if len(labels) < choices:
            raise ValueError(f"{place}: there are up to {choices} choices and {len(labels)} labels; pass one for each")
    return labels


def check_submission_of_kind(task: Task) -> None:
    """
    Checks the form of a task's prediction file.

    Raises:
        `ValueError`: for a form that cannot hold the task's predictions.
    """
    place, form = f"task {task.name!r}", task.submission
    if form is None:
        return
    if task.format.has_label_lists and not form.file_name.endswith(".jsonl"):
        raise ValueError(f"{place}: lists of labels are written as JSON lines; pass {task.name}.jsonl as file_name")
    if form.labels is not None and task.labels is not None and len(form.labels) != len(task.labels):
        raise ValueError(
            f"{place}: the submission writes {len(form.labels)} labels, and the task has {len(task.labels)}"
        )


def _numbered_choices(task: Task) -> tuple[str, ...]:
    """`"0"`, `"1"`, ... up to the longest list of choices."""
    column = task.choices_column
    splits = [rows for rows in (task.train, task.validation, task.test) if rows and column in rows.column_names]
    lists = (choices for rows in splits for choices in rows[column] if isinstance(choices, list))
    return tuple(map(str, range(max(map(len, lists), default=0))))
