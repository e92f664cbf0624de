"""Which texts of a row the model reads, and how they are joined."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any


@dataclass(frozen=True)
class TextFormat:
    """How a raw row becomes model inputs; the fields are [`Task`]'s of the same names."""

    kind: str
    text_columns: tuple[str, ...] = ()
    num_labels: int | None = None
    label_column: str = "label"
    context_template: str | None = None
    value_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    choice_columns: tuple[str, ...] = ()
    text_templates: tuple[str, ...] = ()
    problem_type: str | None = None
    choices_column: str | None = None
    score_columns: tuple[str, ...] = ()

    @functools.cached_property  # every row asks for them
    def columns(self) -> list[str]:
        """The text columns that a row must have."""
        templates = [*self.text_templates, *([self.context_template] if self.context_template else [])]
        named = [*self.text_columns, *(column for template in templates for column in template_columns(template))]
        choices = [self.choices_column] if self.choices_column else self.choice_columns
        return list(dict.fromkeys([*named, *choices]))

    @property
    def is_multi_label(self) -> bool:
        """Whether a row may have any number of labels at once."""
        return self.problem_type == "multi_label_classification"

    @property
    def has_label_lists(self) -> bool:
        """Whether a row's label is a list of ids."""
        return self.is_multi_label or self.kind == "token_classification"


def template_columns(template: str) -> list[str]:
    """The columns that a template names, as `["premise", "question"]` for `"{premise} {question}"`."""
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def check_template(template: str) -> None:
    """
    Checks that a template names columns and nothing else: of `str.format`'s language the plain names.

    Raises:
        `ValueError`: saying what is wrong.
    """
    for _, name, specification, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not name or name.isdecimal():
            raise ValueError("it has braces without a column's name")
        if "." in name or "[" in name:
            raise ValueError(f"{name!r} is no plain name; name what is nested in `columns`, as `{{short: {name}}}`")
        if specification or conversion:
            raise ValueError(f"behind the name {name!r} stands a format; texts are put in as they are")
    if not template_columns(template):
        raise ValueError("it names no column; write one as {column}")


def joined_texts(text_format: TextFormat, row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """
    The inputs that a row makes.

    Args:
        text_format (`TextFormat`):
            The task's.
        row (`dict[str, Any]`):
            A raw row.

    Returns:
        `list[tuple[str, ...]]`: one text or pair of texts; of a multiple choice one pair, context and choice, for each
        choice; of a token classification the words with spaces between them.
    """
    if text_format.kind == "multiple_choice":
        assert text_format.context_template is not None
        context = _filled(text_format.context_template, text_format, row)
        return [(context, choice) for choice in choices_of(text_format, row)]
    if text_format.kind == "token_classification":
        return [(" ".join(words_of(text_format, row)),)]
    if text_format.text_templates:
        return [tuple(_filled(template, text_format, row) for template in text_format.text_templates)]
    return [tuple(row[column] for column in text_format.text_columns)]


def choices_of(text_format: TextFormat, row: Mapping[str, Any]) -> list[str]:
    """A row's choices: `None` and empty strings at the end of `choice_columns` are none."""
    if text_format.choices_column is not None:
        return list(row[text_format.choices_column] or ())
    choices = [row[column] for column in text_format.choice_columns]
    while choices and choices[-1] in (None, ""):
        choices.pop()
    return choices


def words_of(text_format: TextFormat, row: Mapping[str, Any]) -> list[str]:
    """The words of a row of a token classification: a list, or what stands between white space."""
    words = row[text_format.text_columns[0]]
    return words.split() if isinstance(words, str) else list(words)


def is_printed_list(value: Any) -> bool:
    """Whether a value is a list of strings as Python prints it, such as pandas writes into CSV: `"['a', 'b']"`."""
    return isinstance(value, str) and re.fullmatch(r"\[['\"].*['\"]\]", value.strip(), re.DOTALL) is not None


def check_row_texts(text_format: TextFormat, row: Mapping[str, Any]) -> None:
    """
    Checks that a row's texts are what the model can read.

    Raises:
        `ValueError`: naming the column and what it holds.
    """
    for column in text_format.columns:
        value, known = row[column], text_format.value_maps.get(column)
        if column == text_format.choices_column:
            valid, wanted = _is_text_list(value), "a list of strings"
        elif column in text_format.choice_columns:
            valid, wanted = value is None or isinstance(value, str), "a string"
        elif text_format.kind == "token_classification":
            valid, wanted = isinstance(value, str) or _is_text_list(value), "a string or a list of strings"
            if is_printed_list(value):
                valid, wanted = False, "a string of words: it is a list as Python prints it"
        else:
            valid, wanted = isinstance(value, str), "a string"
        if not valid:
            raise ValueError(f"the column {column!r} holds {value!r:.80}, which is not {wanted}.")
        if known is not None and value not in known:
            raise ValueError(f"the column {column!r} holds {value!r:.80}; known are {', '.join(known)}.")
    if text_format.kind == "multiple_choice":
        choices = choices_of(text_format, row)
        if len(choices) < 2:
            raise ValueError(f"the choices are {choices!r:.80}; a row needs two or more.")
        if None in choices or (text_format.choice_columns and "" in choices):
            raise ValueError(f"the choices are {choices!r:.80}; null and nothing may only stand behind the last.")


def _filled(template: str, text_format: TextFormat, row: Mapping[str, Any]) -> str:
    maps = text_format.value_maps
    return template.format(
        **{name: maps[name][row[name]] if name in maps else row[name] for name in template_columns(template)}
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
