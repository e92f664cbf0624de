"""The demo suite: generated tasks of which it is known what helps the target, and a tiny encoder to train on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ..tasks import Task

DEMO_TARGET = "target"

NUM_WORDS = 1000
#: Words of a sentence, both ends included.
SENTENCE_WORDS = (8, 14)
#: By how many words the larger group leads: a sentence that is nearly even would teach little.
MIN_LEAD = 2

TARGET_ROWS = {"train": 160, "validation": 200, "test": 2000}
AUXILIARY_ROWS = {"train": 1500, "validation": 200}

HIDDEN_SIZE = 64
NUM_LAYERS = 2
# BERT's 0.02 suits its width of 768; at this width it would leave almost nothing of a word in the sentence's feature.
INITIALIZER_RANGE = 0.1
#: Heads start near 0: they then read the direction that the data shows them, not a random one of their own.
HEAD_INITIALIZER_RANGE = 0.002
#: How far a group's trace moves a word's embedding, in standard deviations of one of its dimensions.
TRACE = 1.5
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

# Independent streams of one seed, so that a change in one part leaves the others as they are.
_LEXICON, _ENCODER, _FIRST_TASK = range(3)


@dataclass(frozen=True)
class DemoLexicon:
    """
    The hidden truth of the demo suite: nonsense words, and two independent divisions of them into halves.

    Args:
        words (`tuple[str, ...]`): All words; their order tells nothing.
        warm (`np.ndarray`): Booleans of shape `(words,)`: the division that `target` and `helpful` ask for.
        round (`np.ndarray`): Booleans of shape `(words,)`: the division that `unrelated` asks for.
    """

    words: tuple[str, ...]
    warm: np.ndarray
    round: np.ndarray


def demo_lexicon(seed: int = 0) -> DemoLexicon:
    """
    The words of the demo suite of this seed, and their hidden groups.

    Args:
        seed (`int`, *optional*, defaults to 0): The suite's seed.
    """
    rng = np.random.default_rng((seed, _LEXICON))
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    # A number in base 70 is a word of three syllables: distinct numbers make distinct words.
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
    Four text classification tasks over the same nonsense words; what each is worth to the first is known.

    | task        | training rows | the label says                             | to the target               |
    |-------------|---------------|--------------------------------------------|-----------------------------|
    | `target`    | 160           | whether more words are warm or cool        |                             |
    | `helpful`   | 1500          | the same, under other label names          | shows it all words          |
    | `unrelated` | 1500          | whether more words are round or square     | wants other features        |
    | `noise`     | 1500          | nothing: drawn at random                   | can only be learned by rote |

    Which words are warm and which are round is drawn anew, and independently, for each seed. A word occurs about twice
    in the target's training rows and 17 times in `helpful`'s. The labels of every split are balanced.

    Args:
        seed (`int`, *optional*, defaults to 0): Seeds words, groups and sentences.

    Returns:
        `dict[str, Task]`: The tasks by name, the target first. The target has a validation and a large test split,
        the auxiliaries a validation split.
    """
    lexicon = demo_lexicon(seed)
    rules: dict[str, tuple[np.ndarray | None, tuple[str, str]]] = {
        DEMO_TARGET: (lexicon.warm, ("cool", "warm")),
        "helpful": (lexicon.warm, ("winter", "summer")),
        "unrelated": (lexicon.round, ("square", "round")),
        "noise": (None, ("no", "yes")),
    }
    tasks = {}
    for stream, (name, (group, labels)) in enumerate(rules.items(), start=_FIRST_TASK):
        rng = np.random.default_rng((seed, stream))
        sizes = TARGET_ROWS if name == DEMO_TARGET else AUXILIARY_ROWS
        splits = {split: _make_rows(lexicon.words, group, rows, rng) for split, rows in sizes.items()}
        tasks[name] = Task(name, "sequence_classification", ("text",), labels=labels, **splits)
    return tasks


def demo_encoder(directory: str | Path, seed: int = 0) -> None:
    """
    Saves a tiny BERT encoder and its word-level tokenizer: a folder for `AutoModel` and `AutoTokenizer`.

    The weights are random, but for one thing: each word's embedding carries a faint trace of the two groups that it
    belongs to, not much longer than a single dimension's noise. It stands for what pretraining leaves. In a wholly
    random encoder each task's head reads a direction of its own, so a step on one task says nothing about another's
    loss, and there is nothing for α to weigh until the heads have found each other.

    Args:
        directory (`str` or `Path`): The folder to write; made where it is missing.
        seed (`int`, *optional*, defaults to 0): The seed of the suite, as in [`demo_tasks`].
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
    # The caller's random state stays as it is.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BertModel(config)
    rng = np.random.default_rng((seed, _ENCODER))
    for group in (lexicon.warm, lexicon.round):
        direction = rng.normal(size=HIDDEN_SIZE)
        direction *= TRACE * INITIALIZER_RANGE / np.linalg.norm(direction)
        trace = np.where(group, 1.0, -1.0)[:, None] * direction
        with torch.no_grad():
            embeddings = encoder.get_input_embeddings().weight[len(SPECIAL_TOKENS) :]
            embeddings += torch.from_numpy(trace).to(embeddings.dtype)
    # From here on it is what new heads are drawn with.
    encoder.config.initializer_range = HEAD_INITIALIZER_RANGE
    encoder.save_pretrained(directory)


def _make_rows(words: tuple[str, ...], group: np.ndarray | None, rows: int, rng: np.random.Generator) -> Dataset:
    """`rows` sentences, half of each label, in random order; without a `group` the labels are random."""
    labels = rng.permutation(np.arange(rows) % 2)
    draw = _random_sentence if group is None else _sentence_with_lead(group)
    texts = [" ".join(words[word] for word in draw(label, rng)) for label in labels]
    return Dataset.from_dict({"text": texts, "label": labels.tolist(), "idx": list(range(rows))})


def _random_sentence(label: int, rng: np.random.Generator) -> np.ndarray:
    length = rng.integers(SENTENCE_WORDS[0], SENTENCE_WORDS[1] + 1)
    return rng.integers(NUM_WORDS, size=length)


def _sentence_with_lead(group: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """A function that draws sentences until the words in `group` (label 1) or outside it (label 0) lead."""

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
