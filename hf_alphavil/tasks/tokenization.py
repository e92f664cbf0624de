"""From raw rows to model inputs, cached on disk between runs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import datasets
from datasets import Dataset

from .errors import DataError
from .fingerprints import hash_of, tokenizer_identity

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of every cache key: raise it when the code below comes to write other columns.
VERSION = 1


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

    @property
    def columns(self) -> list[str]:
        """The text columns that a row must have."""
        templates = [*self.text_templates, *([self.context_template] if self.context_template else [])]
        named = [*self.text_columns, *(column for template in templates for column in template_columns(template))]
        choices = [self.choices_column] if self.choices_column else self.choice_columns
        return list(dict.fromkeys([*named, *choices]))


def template_columns(template: str) -> list[str]:
    """The columns that a context template names, as `["premise", "question"]` for `"{premise} {question}"`."""
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def tokenize_dataset(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None, text_format: TextFormat, name: str
) -> Dataset:
    """
    Tokenises `rows`, or finds them tokenised by an earlier run.

    Args:
        rows (`datasets.Dataset`):
            Raw rows.
        tokenizer (`PreTrainedTokenizerBase`):
            The tokenizer.
        max_length (`int`, *optional*):
            Longest input in tokens. `None` is the tokenizer's own limit.
        text_format (`TextFormat`):
            How a row becomes model inputs.
        name (`str`):
            Names the rows in error messages and in the cache file.

    Returns:
        `datasets.Dataset`: the tokenizer's model inputs and, where `rows` are labelled, `labels`.
    """
    if rows.format["type"] is not None:  # torch or numpy values are not what a tokenizer reads
        rows = rows.with_format(None)
    check_texts(rows, text_format, name)
    labelled = has_labels(rows, text_format, name)
    fingerprint = hash_of(
        VERSION, rows._fingerprint, tokenizer_identity(tokenizer), max_length, asdict(text_format), labelled
    )
    if not len(rows):  # map() would hand back the raw columns
        columns = [*tokenizer.model_input_names, *(["labels"] if labelled else [])]
        return Dataset.from_dict({column: [] for column in columns})
    cache_file = _cache_file(name, fingerprint)
    return rows.map(
        _tokenize_batch,
        batched=True,
        fn_kwargs={
            "tokenizer": tokenizer,
            "max_length": max_length,
            "text_format": text_format,
            "labelled": labelled,
        },
        remove_columns=rows.column_names,
        new_fingerprint=fingerprint,
        # map() caches rows that came from memory nowhere unless it is told where.
        cache_file_name=cache_file,
        keep_in_memory=cache_file is None,
        desc=f"Tokenizing {name}",
    )


def has_labels(rows: Dataset, text_format: TextFormat, name: str) -> bool:
    """
    Whether `rows` are labelled; a label column that holds nothing but -1 or null, as in GLUE's test sets, is none.

    Raises:
        [`DataError`]: for a label that is not the task's, and for rows of which only some are labelled.
    """
    column = text_format.label_column
    if column not in rows.column_names:
        return False
    labels = rows[column][:]
    if labels and all(label is None or label == -1 for label in labels):
        return False
    for row, label in enumerate(labels):
        if text_format.num_labels is None:
            valid = isinstance(label, (int, float)) and math.isfinite(label)
            wanted = "a finite number"
        else:
            valid = isinstance(label, int) and 0 <= label < text_format.num_labels
            wanted = f"an id from 0 to {text_format.num_labels - 1}"
        if not valid:
            raise DataError(
                f"{name}, row {row}: the column {column!r} holds {label!r}, which is not {wanted}.",
                advice="Correct the row, or take it out.",
            )
    return True


def check_texts(rows: Dataset, text_format: TextFormat, name: str) -> None:
    """
    Checks that every text is a string, and every value that a value map reads is in it.

    Raises:
        [`DataError`]: naming the row.
    """
    for column in text_format.columns:
        known = text_format.value_maps.get(column)
        for row, text in enumerate(rows[column][:]):
            if not isinstance(text, str):
                raise DataError(f"{name}, row {row}: the column {column!r} holds {text!r}, which is not a string.")
            if known is not None and text not in known:
                raise DataError(
                    f"{name}, row {row}: the column {column!r} holds {text!r}; known are {', '.join(known)}."
                )


def _tokenize_batch(
    batch: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    text_format: TextFormat,
    labelled: bool,
) -> dict[str, list[Any]]:
    if tokenizer.model_max_length < 10**9:  # larger stands for "no limit"
        max_length = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    if text_format.kind == "multiple_choice":
        texts = _choice_texts(batch, text_format)
    else:
        texts = [batch[column] for column in text_format.text_columns]
    inputs = dict(tokenizer(*texts, truncation=max_length is not None, max_length=max_length))
    if text_format.kind == "multiple_choice":
        inputs = {key: _regroup(values, len(text_format.choice_columns)) for key, values in inputs.items()}
    if labelled:
        cast = float if text_format.num_labels is None else int
        inputs["labels"] = [cast(label) for label in batch[text_format.label_column]]
    return inputs


def _choice_texts(batch: Mapping[str, list[Any]], text_format: TextFormat) -> list[list[str]]:
    """Contexts and choices, a pair per choice, the choices of one row side by side."""
    contexts, choices = [], []
    template = text_format.context_template or ""
    names = template_columns(template)
    for row in range(len(batch[text_format.choice_columns[0]])):
        values = {}
        for name in names:
            value = batch[name][row]
            values[name] = text_format.value_maps[name][value] if name in text_format.value_maps else value
        contexts += [template.format(**values)] * len(text_format.choice_columns)
        choices += [batch[column][row] for column in text_format.choice_columns]
    return [contexts, choices]


def _regroup(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _cache_file(name: str, fingerprint: str) -> str | None:
    """Where the tokenised rows lie; `None`, for memory, where caching is off or its folder cannot be written."""
    if not datasets.is_caching_enabled():
        return None
    folder = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "hf_alphavil"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    safe_name = "".join(character if character.isalnum() or character in "-_" else "_" for character in name)
    return str(folder / f"{safe_name}-{fingerprint}.arrow")
