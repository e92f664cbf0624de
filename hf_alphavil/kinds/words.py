"""Tokenises rows of words, with each word's label at its first sub-word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from .predictions import IGNORED

#: The column of each word's first sub-word in `input_ids`, -1 where it was cut off.
WORD_POSITIONS = "word_positions"
#: What byte-level and SentencePiece tokenizers write for a space.
SPACE_MARKS = "Ġ▁"


def encode_words(
    rows: Sequence[list[str]],
    labels: Sequence[list[int]] | None,
    tokenizer: PreTrainedTokenizerBase,
    cut: Mapping[str, Any],
) -> dict[str, list[Any]]:
    """
    Tokenises rows of words.

    A word that leaves no token, because it is cut off or unknown to the tokenizer, has no position and moves no other
    word's label. A token that holds only the space before a word is skipped, because a decoder has not read the word
    there yet.

    Args:
        rows (`Sequence[list[str]]`): The words of each row.
        labels (`Sequence[list[int]]`, *optional*): An id for each word.
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer.
        cut (`dict[str, Any]`): The tokenizer's arguments `truncation` and `max_length`.

    Returns:
        `dict[str, list]`: The tokenizer's model inputs, unpadded; `word_positions`, a place in `input_ids` for each
        word or -1; and, with labels, `labels`: the id at each word's first sub-word and -100 elsewhere.
    """
    marks = "".join(mark for mark in SPACE_MARKS if any(mark in token for token in tokenizer.tokenize("a a")))
    if not _separates_words(tokenizer):
        rows = [[*words[:1], *(f" {word}" for word in words[1:])] for words in rows]
    encoded = tokenizer(list(rows), is_split_into_words=True, **cut)
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


def _separates_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a list of words gives the tokens of the same text. RoBERTa and similar tokenizers join the words."""
    return tokenizer(["a", "a"], is_split_into_words=True)["input_ids"] == tokenizer("a a")["input_ids"]
