"""From raw rows to model inputs, cached on disk between runs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from datasets import Dataset

from .errors import DataError
from .fingerprints import hash_of, tokenizer_identity
from .text_format import TextFormat, check_row_texts, choices_of, joined_texts, words_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of every cache key: raise it when the code below comes to write other columns.
VERSION = 4

#: Of a token classification the column of each word's first sub-word in `input_ids`, -1 where it was cut off.
WORD_POSITIONS = "word_positions"
#: What byte-level and SentencePiece tokenizers write for a space.
SPACE_MARKS = "Ġ▁"
#: What no loss is taken of.
IGNORED = -100


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
        `datasets.Dataset`: the tokenizer's model inputs; where `rows` are labelled, `labels`; the columns that the
        metrics read, where `rows` have them; and of a token classification `word_positions`.

    Raises:
        [`DataError`]: for rows that cannot be used.
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
        columns += [WORD_POSITIONS] if text_format.kind == "token_classification" else []
        columns += [column for column in text_format.score_columns if column in rows.column_names]
        return Dataset.from_dict({column: [] for column in columns})
    if text_format.kind == "token_classification" and not tokenizer.is_fast:
        raise DataError(
            f"{name}: it takes a fast tokenizer to lay words on sub-words, and {type(tokenizer).__name__} is none.",
            advice="Use an encoder with a tokenizer.json.",
        )
    cache_file = _cache_file(name, fingerprint)
    return rows.map(
        _tokenize_batch,
        batched=True,
        fn_kwargs={
            "tokenizer": tokenizer,
            "max_length": max_length,
            "text_format": text_format,
            "labelled": labelled,
            "name": name,
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
    if text_format.kind == "masked_lm" or column not in rows.column_names:
        return False
    labels = rows[column][:]
    if labels and all(label is None or label == -1 for label in labels):
        return False
    limit = text_format.num_labels
    for row, label in enumerate(labels):
        if limit is None:
            valid = isinstance(label, (int, float)) and math.isfinite(label)
            wanted = "a finite number"
        elif text_format.has_label_lists:
            valid = isinstance(label, list) and all(_is_id(part, limit) for part in label)
            wanted = f"a list of ids from 0 to {limit - 1}"
        else:
            valid, wanted = _is_id(label, limit), f"an id from 0 to {limit - 1}"
        if not valid:
            raise DataError(
                f"{name}, row {row}: the column {column!r} holds {label!r:.80}, which is not {wanted}.",
                advice="Correct the row, or take it out.",
            )
    if text_format.kind in ("multiple_choice", "token_classification"):
        _check_label_counts(rows, labels, text_format, name)
    return True


def _check_label_counts(rows: Dataset, labels: list[Any], text_format: TextFormat, name: str) -> None:
    """Checks labels against their own row's words or choices, of which rows have unequal numbers."""
    column = text_format.label_column
    for number, (row, label) in enumerate(zip(rows.select_columns(text_format.columns), labels, strict=True)):
        if text_format.kind == "multiple_choice":
            present, valid = f"{len(choices_of(text_format, row))} choices", label < len(choices_of(text_format, row))
        else:
            words = words_of(text_format, row)
            # A row of no words has no loss: alone in a batch it would make NaN.
            present, valid = f"{len(words)} words", bool(words) and len(label) == len(words)
        if not valid:
            raise DataError(
                f"{name}, row {number}: the column {column!r} holds {label!r:.80}, which does not fit {present}.",
                advice="Correct the row, or take it out.",
            )


def _is_id(label: Any, limit: int) -> bool:
    return isinstance(label, int) and 0 <= label < limit


def check_texts(rows: Dataset, text_format: TextFormat, name: str) -> None:
    """
    Checks that every text is a string, and every value that a value map reads is in it.

    Raises:
        [`DataError`]: naming the row.
    """
    for number, row in enumerate(rows.select_columns(text_format.columns)):
        try:
            check_row_texts(text_format, row)
        except ValueError as error:
            raise DataError(f"{name}, row {number}: {error}") from None


def _tokenize_batch(
    batch: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    text_format: TextFormat,
    labelled: bool,
    name: str,
) -> dict[str, list[Any]]:
    if tokenizer.model_max_length < 10**9:  # larger stands for "no limit"
        max_length = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    cut = {"truncation": max_length is not None, "max_length": max_length}
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    labels = batch[text_format.label_column] if labelled else None
    if text_format.kind == "token_classification":
        words = [words_of(text_format, row) for row in rows]
        inputs = _tokenize_words(words, tokenizer, cut, labels)
        for row, ids, positions in zip(words, inputs["input_ids"], inputs[WORD_POSITIONS], strict=True):
            if not ids or (labelled and max(positions) < 0):  # like a row of no words
                raise _no_token(name, f"words {row!r:.80}")
    else:
        texts = [joined_texts(text_format, row) for row in rows]
        pairs = [pair for row in texts for pair in row]
        inputs = dict(tokenizer(*map(list, zip(*pairs, strict=True)), **cut))
        for pair, ids in zip(pairs, inputs["input_ids"], strict=True):
            if not ids:
                raise _no_token(name, f"text {' '.join(pair)!r:.80}")
        if text_format.kind == "multiple_choice":
            inputs = {key: _regroup(values, [len(row) for row in texts]) for key, values in inputs.items()}
        if labels is not None:
            inputs["labels"] = [_label(label, text_format) for label in labels]
    return inputs | {column: batch[column] for column in text_format.score_columns if column in batch}


def _no_token(name: str, what: str) -> DataError:
    return DataError(
        f"{name}: of the {what} the tokenizer makes no token.",
        advice="Take the row out, or pass a greater max_length.",
    )


def _tokenize_words(
    rows: list[list[str]], tokenizer: PreTrainedTokenizerBase, cut: dict[str, Any], labels: list[list[int]] | None
) -> dict[str, list[Any]]:
    """
    Inputs of rows of words; labels at each word's first sub-word, as the field scores them.

    A word of which nothing is left, cut off or unknown to the tokenizer, has no position and moves no other's label. A
    token that holds the space before a word and nothing of it is passed over: there a decoder has yet to see the word.
    """
    marks = "".join(mark for mark in SPACE_MARKS if any(mark in token for token in tokenizer.tokenize("a a")))
    if not _parts_words(tokenizer):
        rows = [[*words[:1], *(f" {word}" for word in words[1:])] for words in rows]
    encoded = tokenizer(rows, is_split_into_words=True, **cut)
    inputs: dict[str, list[Any]] = dict(encoded)
    inputs[WORD_POSITIONS] = []
    for number, words in enumerate(rows):
        positions, tokens = [-1] * len(words), encoded.tokens(number)
        for place, word in reversed(list(enumerate(encoded.word_ids(number)))):
            if word is not None and (tokens[place].strip(marks) or not words[word].strip(f"{marks} ")):
                positions[word] = place
        inputs[WORD_POSITIONS].append(positions)
    if labels is not None:
        inputs["labels"] = []
        for row, ids, positions in zip(inputs["input_ids"], labels, inputs[WORD_POSITIONS], strict=True):
            aligned = [IGNORED] * len(row)
            for label, place in zip(ids, positions, strict=True):
                if place >= 0:
                    aligned[place] = label
            inputs["labels"].append(aligned)
    return inputs


def _parts_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether words given apart are tokenised as in a text: RoBERTa's relatives run them together."""
    return tokenizer(["a", "a"], is_split_into_words=True)["input_ids"] == tokenizer("a a")["input_ids"]


def _label(label: Any, text_format: TextFormat) -> Any:
    if text_format.num_labels is None:
        return float(label)
    if text_format.is_multi_label:  # floats: what a binary cross entropy takes
        return [float(number in label) for number in range(text_format.num_labels)]
    return int(label)


def _regroup(values: list[Any], sizes: list[int]) -> list[list[Any]]:
    """A flat list, cut into lists of the given sizes."""
    remaining = iter(values)
    return [list(islice(remaining, size)) for size in sizes]


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
