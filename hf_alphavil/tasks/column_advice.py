"""Which key of a task's YAML file names a column that its rows lack."""

from __future__ import annotations

from ..kinds.texts import template_columns
from .definition import TaskDefinition


def column_advice(definition: TaskDefinition, source: str, column: str) -> str:
    """
    Says which key names a column of a user's task, on which line, and what to write.

    Args:
        definition (`TaskDefinition`): The task.
        source (`str`): `"files"` or `"hub"`.
        column (`str`): The column that the source lacks.
    """
    columns = getattr(definition, source).columns
    for ours, theirs in columns.items():
        if theirs == column:
            return f"`{source}.columns` names it{_place(definition, source, 'columns', ours)}: correct it there."
    advice = f"name the column that is there in `{source}.columns`, as in `columns: {{{column}: ...}}`."
    spec = definition.spec
    of_keys = {
        "text_columns": spec.text_columns,
        "text_templates": [name for template in spec.text_templates for name in template_columns(template)],
        "context_template": template_columns(spec.context_template or ""),
        "choice_columns": spec.choice_columns,
        "choices_column": [spec.choices_column],
        "group_column": [spec.group_column],
        "label_column": [spec.label_column],
    }
    key = next((key for key, names in of_keys.items() if column in names), None)
    if key is None:
        return f"{advice[0].upper()}{advice[1:]}"
    place = _place(definition, key)
    if not place and key == "label_column":  # the default
        return f"It is the default of `{key}`: write that key, or {advice}"
    return f"`{key}` names it{place}: correct it there, or {advice}"


def _place(definition: TaskDefinition, *keys: str) -> str:
    """The line of nested keys of the task, in brackets; empty if it is unknown, or the first key is not there."""
    content = definition.source.content
    outer = () if "kind" in content else (definition.key,)  # the file is one task, or several
    for key in outer:
        content = {str(name): task for name, task in content.items()}[key]
    line = definition.source.line_of(*outer, *keys)
    return f" ({definition.source.file.name}, line {line})" if keys[0] in content and line is not None else ""
