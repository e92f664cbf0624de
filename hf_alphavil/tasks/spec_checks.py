"""Checks whether a task's settings fit its kind and each other, and fills in the defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..kinds import TaskKind, TaskSpec, find_kind, kind_of
from ..kinds.texts import check_template, template_columns
from ..settings.suggestion import did_you_mean
from .metrics import METRICS, score_directions

_TUPLES = ("text_columns", "text_templates", "choice_columns", "metrics")


def checked_spec(spec: TaskSpec) -> TaskSpec:
    """
    A task's settings, checked and with the defaults of its kind.

    Args:
        spec (`TaskSpec`):
            The settings. Labels may be missing: the rows may name them.

    Returns:
        `TaskSpec`: The settings with problem type, metrics, main metric and its direction filled in.

    Raises:
        ValueError: If the kind is unknown, or settings do not fit the kind or each other.
    """
    try:
        base = find_kind(spec.kind)
        tuples: dict[str, Any] = {name: _as_tuple(getattr(spec, name)) for name in _TUPLES}
        spec = replace(spec, **tuples)
        problem_type = spec.problem_type or base.problem_types[0]
        if problem_type not in base.problem_types:
            fitting = ", ".join(sorted(filter(None, base.problem_types))) or "none"
            raise ValueError(f"problem_type {problem_type!r} does not fit the kind {spec.kind!r}; pass {fitting}")
        spec = replace(spec, problem_type=problem_type)
        kind = kind_of(spec)
        kind.check_texts(spec)
        _check_templates(spec)
        if not 0 < spec.mlm_probability < 1:
            raise ValueError(f"mlm_probability={spec.mlm_probability}: pass a share between 0 and 1")
        if spec.score_range is not None and not spec.score_range[0] < spec.score_range[1]:
            low, high = spec.score_range
            raise ValueError(f"score_range is {[low, high]}; pass the lower end first, as [0, 5]")
        if spec.labels is not None:
            if not kind.has_classes:
                raise ValueError(f"a task of the kind {spec.kind!r} has no labels; pass labels=None")
            spec = replace(spec, labels=checked_labels(spec.labels))
            kind.labels_of(spec)
        spec = _with_metrics(kind, spec)
        check_submission(kind, spec)
    except ValueError as error:
        raise ValueError(f"task {spec.name!r}: {error}") from None
    return spec


def checked_labels(labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """
    Labels' names as strings.

    Raises:
        ValueError: If there are fewer than two, if two are equal, or if a name has a tab or a line end.
    """
    labels = tuple(map(str, labels or ()))
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"pass two or more distinct labels, not {labels}")
    if broken := [label for label in labels if len(label.split("\t")) + len(label.splitlines()) > 2]:
        raise ValueError(f"the label {broken[0]!r} holds a tab or a line end, which end fields and lines")
    return labels


def check_submission(kind: TaskKind, spec: TaskSpec) -> None:
    """
    Checks the form of a task's prediction file.

    Raises:
        ValueError: If the form cannot hold the task's predictions.
    """
    form = spec.submission
    if form is None:
        return
    if kind.has_label_lists and not form.file_name.endswith(".jsonl"):
        raise ValueError(f"lists of labels are written as JSON lines; pass {spec.name}.jsonl as file_name")
    if form.labels is not None and spec.labels is not None and len(form.labels) != len(spec.labels):
        raise ValueError(f"the submission writes {len(form.labels)} labels, and the task has {len(spec.labels)}")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check_templates(spec: TaskSpec) -> None:
    for template in spec.templates:
        try:
            check_template(template)
        except ValueError as error:
            raise ValueError(f"the template {template!r} cannot be used: {error}") from None
    read = {name for template in spec.templates for name in template_columns(template)}
    if unread := set(spec.value_maps) - read:
        raise ValueError(f"value_maps of {', '.join(sorted(unread))}, which no template names")


def _with_metrics(kind: TaskKind, spec: TaskSpec) -> TaskSpec:
    metrics = spec.metrics or kind.default_metrics
    for metric in metrics:
        if metric not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(f"unknown metric {metric!r}; known are {known}.{did_you_mean(metric, METRICS)}")
        if metric not in kind.metrics:
            raise ValueError(f"metric {metric!r} does not fit the kind {kind.words!r}; pass {', '.join(kind.metrics)}")
    scores = score_directions(metrics)
    if len(metrics) > 1 and "combined_score" not in scores and spec.main_metric in ("", "combined_score"):
        raise ValueError(
            f"larger is better in some of {', '.join(metrics)} and worse in others, so they have no mean, "
            "combined_score; pass one of them as main_metric"
        )
    main_metric = spec.main_metric or list(scores)[-1]
    if main_metric not in scores:
        raise ValueError(f"main_metric {main_metric!r} is none of {', '.join(scores)}")
    greater_is_better = scores[main_metric] if spec.greater_is_better is None else spec.greater_is_better
    return replace(spec, metrics=metrics, main_metric=main_metric, greater_is_better=greater_is_better)
