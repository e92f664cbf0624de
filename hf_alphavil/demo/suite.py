"""The demo suite: generated tasks whose effect on the target is known, and a tiny encoder to train on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ..tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset

DEMO_TARGET = "target"
#: Names of the tasks of [`demo_tasks`], the target first.
DEMO_TASKS = (DEMO_TARGET, "helpful", "unrelated", "noise")

NUM_WORDS = 1000
#: Minimum and maximum number of words per sentence, inclusive.
SENTENCE_WORDS = (8, 14)
#: Minimum lead of the larger group, in words. Nearly even sentences would teach little.
MIN_LEAD = 2

TARGET_ROWS = {"train": 160, "validation": 200, "test": 2000}
AUXILIARY_ROWS = {"train": 1500, "validation": 200}

HIDDEN_SIZE = 64
NUM_LAYERS = 2
# BERT's 0.02 suits its width of 768. At this width, words would have almost no effect on the sentence's feature.
INITIALIZER_RANGE = 0.1
#: Heads start near 0, so that they learn the direction in the data instead of keeping a random one.
HEAD_INITIALIZER_RANGE = 0.002
#: How far a group shifts the embeddings of its words, in standard deviations of one dimension.
SIGNAL = 1.5
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

# Independent random streams of one seed, so that a change in one part does not change the others.
_LEXICON, _ENCODER, _FIRST_TASK = range(3)


@dataclass(frozen=True)
class DemoLexicon:
    """
    The ground truth of the demo suite: nonsense words, split into halves in two independent ways.

    Args:
        words (`tuple[str, ...]`): All words, in random order.
        warm (`np.ndarray`): Booleans of shape `(words,)`: the split that decides the labels of `target` and `helpful`.
        round (`np.ndarray`): Booleans of shape `(words,)`: the split that decides the labels of `unrelated`.
    """

    words: tuple[str, ...]
    warm: np.ndarray
    round: np.ndarray


def demo_lexicon(seed: int = 0) -> DemoLexicon:
    """
    Draws the words of the demo suite and their groups.

    Args:
        seed (`int`, *optional*, defaults to 0): Seed of the suite.
    """
    rng = np.random.default_rng((seed, _LEXICON))
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    # A three-digit number in base 70 is a word of three syllables. Distinct numbers give distinct words.
    numbers = rng.choice(len(syllables) ** 3, size=NUM_WORDS, replace=False)
    digits = np.stack([numbers // len(syllables) ** place % len(syllables) for place in range(3)], axis=1)
    halves = np.arange(NUM_WORDS) % 2 == 0
    return DemoLexicon(
        words=tuple("".join(syllables[digit] for digit in word) for word in digits),
        warm=rng.permutation(halves),
        round=rng.permutation(halves),
    )


def demo_tasks(seed: int = 0) -> dict[str, Task]:
    """
    Generates four text classification tasks over the same nonsense words, whose effect on the target is known.

    | task        | training rows | label                                      | effect on the target        |
    |-------------|---------------|--------------------------------------------|-----------------------------|
    | `target`    | 160           | whether more words are warm or cool        |                             |
    | `helpful`   | 1500          | the same, under other label names          | teaches it all words        |
    | `unrelated` | 1500          | whether more words are round or square     | needs other features        |
    | `noise`     | 1500          | random                                     | can only be memorised       |

    The seed decides which words are warm and which are round, independently of each other. A word occurs about twice
    in the target's training rows and 17 times in those of `helpful`. The labels of every split are balanced.

    Args:
        seed (`int`, *optional*, defaults to 0): Seed of words, groups and sentences.

    Returns:
        `dict[str, Task]`: The tasks by name, the target first. The target has a validation split and a large test
        split, the auxiliaries have a validation split.
    """
    lexicon = demo_lexicon(seed)
    rules: list[tuple[np.ndarray | None, tuple[str, str]]] = [
        (lexicon.warm, ("cool", "warm")),
        (lexicon.warm, ("winter", "summer")),
        (lexicon.round, ("square", "round")),
        (None, ("no", "yes")),
    ]
    tasks = {}
    for stream, (name, (group, labels)) in enumerate(zip(DEMO_TASKS, rules, strict=True), start=_FIRST_TASK):
        rng = np.random.default_rng((seed, stream))
        sizes = TARGET_ROWS if name == DEMO_TARGET else AUXILIARY_ROWS
        splits = {split: _make_rows(lexicon.words, group, rows, rng) for split, rows in sizes.items()}
        tasks[name] = Task(name, "sequence_classification", ("text",), labels=labels, **splits)
    return tasks


def demo_encoder(directory: str | Path, seed: int = 0) -> None:
    """
    Saves a tiny BERT encoder and its word-level tokenizer to a folder for `AutoModel` and `AutoTokenizer`.

    The weights are random with one exception: each word's embedding carries a weak signal of its two groups, not much
    larger than the noise in one dimension. The signal stands in for pretraining. In a fully random encoder every
    task's head would read a different direction. A step on one task would then not affect another task's loss, and α
    would have nothing to weigh until the heads agree.

    Args:
        directory (`str` or `Path`): The folder to write to. It is created if missing.
        seed (`int`, *optional*, defaults to 0): Seed of the suite, as in [`demo_tasks`].
    """
    lexicon = demo_lexicon(seed)
    _make_tokenizer(lexicon.words).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(SPECIAL_TOKENS) + NUM_WORDS,
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN_SIZE,
        max_position_embeddings=32,
        initializer_range=INITIALIZER_RANGE,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    # Keeps the caller's random state unchanged.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BertModel(config)
    rng = np.random.default_rng((seed, _ENCODER))
    for group in (lexicon.warm, lexicon.round):
        direction = rng.normal(size=HIDDEN_SIZE)
        direction *= SIGNAL * INITIALIZER_RANGE / np.linalg.norm(direction)
        signal = np.where(group, 1.0, -1.0)[:, None] * direction
        with torch.no_grad():
            embeddings = encoder.get_input_embeddings().weight[len(SPECIAL_TOKENS) :]
            embeddings += torch.from_numpy(signal).to(embeddings.dtype)
    # New heads are initialised with this range.
    encoder.config.initializer_range = HEAD_INITIALIZER_RANGE
    encoder.save_pretrained(directory)


def _make_rows(words: tuple[str, ...], group: np.ndarray | None, rows: int, rng: np.random.Generator) -> Dataset:
    """Makes `rows` sentences with balanced labels in random order. Without `group`, labels are random."""
    labels = rng.permutation(np.arange(rows) % 2)
    draw = _random_sentence if group is None else _sentence_with_lead(group)
    texts = [" ".join(words[word] for word in draw(label, rng)) for label in labels]
    from datasets import Dataset

    return Dataset.from_dict({"text": texts, "label": labels.tolist(), "idx": list(range(rows))})


def _random_sentence(label: int, rng: np.random.Generator) -> np.ndarray:
    length = rng.integers(SENTENCE_WORDS[0], SENTENCE_WORDS[1] + 1)
    return rng.integers(NUM_WORDS, size=length)


def _sentence_with_lead(group: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Returns a function that draws sentences until words in `group` (label 1) or outside it (label 0) lead."""

    def draw(label: int, rng: np.random.Generator) -> np.ndarray:
        while True:
            sentence = _random_sentence(label, rng)
            lead = 2 * int(group[sentence].sum()) - len(sentence)
            if (lead if label == 1 else -lead) >= MIN_LEAD:
                return sentence

    return draw


def _make_tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )
