"""Tokenises raw rows to model inputs, cached on disk between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..kinds import TaskSpec, kind_of
from .errors import DataError
from .fingerprints import hash_of, tokenizer_identity
from .token_cache import TokenCache
from .tokenizer_state import unchanged

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# Part of every cache key. Increase it when tokenisation writes other columns.
VERSION = 4

#: The settings that decide how a row becomes model inputs.
INPUT_SETTINGS = (
    "kind", "text_columns", "num_labels", "label_column", "context_template", "choice_columns", "text_templates",
    "problem_type", "choices_column",
)  # fmt: skip


def tokenize_dataset(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    spec: TaskSpec,
    name: str,
    kept_columns: Sequence[str] = (),
    identity: str | None = None,
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
        spec (`TaskSpec`):
            The task's settings.
        name (`str`):
            Names the rows in error messages and in the cache file.
        kept_columns (`Sequence[str]`, *optional*):
            Columns to keep beside the inputs, where `rows` have them: those that the metrics read.
        identity (`str`, *optional*):
            The tokenizer's [`tokenizer_identity`]. By default, it is computed.

    Returns:
        `datasets.Dataset`: The tokenizer's model inputs, `labels` where `rows` are labelled, the kind's
        `extra_columns` and `kept_columns`.

    Raises:
        DataError: If rows cannot be used.
    """
    if rows.format["type"] is not None:  # a tokenizer reads neither torch nor numpy values
        rows = rows.with_format(None)
    kind = kind_of(spec)
    labelled = has_labels(rows, spec)
    settings = {setting: getattr(spec, setting) for setting in INPUT_SETTINGS}
    settings["value_maps"] = {column: dict(values) for column, values in spec.value_maps.items()}
    settings["score_columns"] = kept_columns
    identity = identity or tokenizer_identity(tokenizer)
    fingerprint = hash_of(VERSION, rows._fingerprint, identity, max_length, settings, labelled)
    if not len(rows):  # map() would return the raw columns
        from datasets import Dataset

        columns = [*tokenizer.model_input_names, *(["labels"] if labelled else []), *kind.extra_columns]
        columns += [column for column in kept_columns if column in rows.column_names]
        return Dataset.from_dict({column: [] for column in columns})
    cache = TokenCache(name, fingerprint, len(rows))
    if not cache.is_filled:  # else the rows have been checked
        check_texts(rows, spec, name)
        if labelled:
            check_labels(rows, spec, name)
    with unchanged(tokenizer):
        try:
            kind.check_tokenizer(tokenizer)
            check_max_length(tokenizer, max_length, len(kind.texts(spec, rows[0])[0]))
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        tokenized = rows.map(
            _tokenize_batch,
            batched=True,
            fn_kwargs={
                "tokenizer": tokenizer,
                "max_length": max_length,
                "spec": spec,
                "labelled": labelled,
                "name": name,
                "kept_columns": kept_columns,
            },
            remove_columns=rows.column_names,
            new_fingerprint=fingerprint,
            # Without a file's name, map() caches no rows that came from memory.
            cache_file_name=cache.file,
            keep_in_memory=cache.file is None,
            desc=f"Tokenizing {name}",
        )
    cache.record()
    return tokenized


def longest_input(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> int | None:
    """The most tokens that an input may have, from `max_length` and the tokenizer's own limit; `None` without one."""
    if tokenizer.model_max_length >= 10**9:  # "no limit"
        return max_length
    return min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)


def check_max_length(tokenizer: PreTrainedTokenizerBase, max_length: int | None, num_texts: int) -> None:
    """
    Checks that a token of each text fits beside the special tokens. A tokenizer does not truncate to fewer.

    Raises:
        ValueError: If it does not.
    """
    limit, special = longest_input(tokenizer, max_length), tokenizer.num_special_tokens_to_add(pair=num_texts > 1)
    if limit is not None and limit < special + num_texts:
        name = "max_length" if limit == max_length else "the tokenizer's model_max_length"
        raise ValueError(
            f"{name}={limit} leaves no room for a text beside {special} special tokens. Pass {special + num_texts} or "
            "more."
        )


def has_labels(rows: Dataset, spec: TaskSpec) -> bool:
    """Whether `rows` are labelled. A column of nothing but -1 or null, as in GLUE's test sets, holds no labels."""
    column = spec.label_column
    if not kind_of(spec).reads_labels or column not in rows.column_names:
        return False
    labels = rows[column][:]
    return not labels or any(label is not None and label != -1 for label in labels)


def check_labels(rows: Dataset, spec: TaskSpec, name: str) -> None:
    """
    Checks the labels of labelled rows.

    Raises:
        DataError: If a label is not the task's, or if only some rows are labelled.
    """
    kind, column = kind_of(spec), spec.label_column
    labels = rows[column][:]
    for number, label in enumerate(labels):
        try:
            kind.check_label(label, spec.num_labels)
        except ValueError as error:
            raise _bad_label(name, number, column, label, error) from None
    if kind.checks_labels_of_rows:
        texts = rows.select_columns(spec.input_columns)
        for number, (row, label) in enumerate(zip(texts, labels, strict=True)):
            try:
                kind.check_label_of_row(spec, label, row)
            except ValueError as error:
                raise _bad_label(name, number, column, label, error) from None


def check_texts(rows: Dataset, spec: TaskSpec, name: str) -> None:
    """
    Checks that every text is a string, and that value maps contain every value that they replace.

    Raises:
        DataError: If they are not. The message gives the row.
    """
    kind = kind_of(spec)
    for number, row in enumerate(rows.select_columns(spec.input_columns)):
        try:
            kind.check_texts_of_row(spec, row)
        except ValueError as error:
            raise DataError(f"{name}, row {number}: {error}") from None


def _bad_label(name: str, number: int, column: str, label: Any, error: ValueError) -> DataError:
    return DataError(
        f"{name}, row {number}: the column {column!r} holds {label!r:.80}, which {error}.",
        advice="Correct the row, or remove it.",
    )


def _tokenize_batch(
    batch: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    spec: TaskSpec,
    labelled: bool,
    name: str,
    kept_columns: Sequence[str],
) -> dict[str, list[Any]]:
    max_length = longest_input(tokenizer, max_length)
    cut = {"truncation": max_length is not None, "max_length": max_length}
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    labels = batch[spec.label_column] if labelled else None
    try:
        inputs = kind_of(spec).tokenize(spec, rows, labels, tokenizer, cut)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    return inputs | {column: batch[column] for column in kept_columns if column in batch}
