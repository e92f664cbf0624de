"""Templates, and the tokenisation of texts and pairs of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from transformers import PreTrainedTokenizerBase


def template_columns(template: str) -> list[str]:
    """The columns in a template, such as `["premise", "question"]` for `"{premise} {question}"`."""
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def check_template(template: str) -> None:
    """
    Checks that a template uses only plain column names, not the rest of `str.format`'s language.

    Raises:
        ValueError: If it uses anything else. The message says what.
    """
    for _, name, specification, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not name or name.isdecimal():
            raise ValueError("it has braces without a column's name")
        if "." in name or "[" in name:
            raise ValueError(f"{name!r} is not a plain name; name a nested value in `columns`, as `{{short: {name}}}`")
        if specification or conversion:
            raise ValueError(f"the name {name!r} is followed by a format; texts are put in as they are")
    if not template_columns(template):
        raise ValueError("it names no column; write one as {column}")


def fill_template(template: str, value_maps: Mapping[str, Mapping[str, str]], row: Mapping[str, Any]) -> str:
    """
    Fills a template with the values of one row.

    Args:
        template (`str`): Such as `"{premise} {question}"`.
        value_maps (`dict[str, dict[str, str]]`): Replacements of values, by column.
        row (`dict[str, Any]`): A raw row.
    """
    return template.format(
        **{
            name: value_maps[name][row[name]] if name in value_maps else row[name]
            for name in template_columns(template)
        }
    )


def encode_texts(
    texts: Sequence[tuple[str, ...]], tokenizer: PreTrainedTokenizerBase, cut: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """
    Tokenises texts, or pairs of texts.

    Args:
        texts (`Sequence[tuple[str, ...]]`): Tuples of one text each, or of two.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
        cut (`dict[str, Any]`): The tokenizer's arguments `truncation` and `max_length`.

    Returns:
        `dict[str, list]`: The tokenizer's model inputs, unpadded.

    Raises:
        ValueError: If a text gives no tokens.
    """
    inputs = dict(tokenizer(*map(list, zip(*texts, strict=True)), **cut))
    for parts, ids in zip(texts, inputs["input_ids"], strict=True):
        if not ids:
            raise ValueError(no_token(f"text {' '.join(parts)!r:.80}"))
    return inputs


def no_token(what: str) -> str:
    """The message for a text or words that give no token."""
    return f"the tokenizer makes no tokens from the {what}. Remove the row, or pass a larger max_length."


def is_text_list(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_printed_list(value: Any) -> bool:
    """Whether a value is a list of strings as Python prints it, such as pandas writes into CSV: `"['a', 'b']"`."""
    return isinstance(value, str) and re.fullmatch(r"\[['\"].*['\"]\]", value.strip(), re.DOTALL) is not None
