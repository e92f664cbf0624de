"""Tokenisation of templates, words, several labels and choices of unequal number, against straight-line code."""

import pytest
import tokenizers
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, Sequence
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from hf_alphavil.tasks import DataError, Task
from support.official_miniatures import make_tokenizer


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_templates(tokenizer):
    rows = Dataset.from_dict({"a": ["the cat"], "b": ["{sat}"], "c": ["x"], "label": [1]})
    task = Task(
        "t", "sequence_classification", text_templates=("{a} on {b}", "what {c} ?"), labels=("n", "y"), train=rows,
        value_maps={"c": {"x": "the dog"}},
    )  # fmt: skip
    inputs = task.tokenize("train", tokenizer)[0]
    assert tokenizer.decode(inputs["input_ids"]) == "[CLS] the cat on [UNK] sat [UNK] [SEP] what the dog ? [SEP]"
    with pytest.raises(ValueError, match="names no column"):
        Task("t", "sequence_classification", text_templates=("nothing",), labels=("n", "y"))
    with pytest.raises(ValueError, match="one or two text_columns, or one or two text_templates"):
        Task("t", "regression", ("a",), text_templates=("{a}",))
    with pytest.raises(ValueError, match="one or two"):
        Task("t", "regression", text_templates=("{a}", "{b}", "{c}"))


def test_several_labels(tokenizer):
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [[0, 2], [], [1]]})
    settings = {"problem_type": "multi_label_classification", "labels": ("x", "y", "z")}
    task = Task("t", "sequence_classification", ("text",), train=rows, **settings)
    assert task.tokenize("train", tokenizer)["labels"][:] == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    for wrong in ([[3], [], []], [[0], None, []], [0, 1, 2]):
        bad = Dataset.from_dict({"text": ["a", "b", "c"], "label": wrong})
        with pytest.raises(DataError, match="which is not a list of ids from 0 to 2"):
            Task("t", "sequence_classification", ("text",), train=bad, **settings).tokenize("train", tokenizer)
    blind = Dataset.from_dict({"text": ["a"], "label": [None]})
    assert (
        "labels"
        not in Task("t", "sequence_classification", ("text",), test=blind, **settings)
        .tokenize("test", tokenizer)
        .column_names
    )


@pytest.fixture(scope="module")
def real_tokenizer(real_encoder):
    return AutoTokenizer.from_pretrained(real_encoder)


def test_rows_of_words_without_tokens_are_refused(real_tokenizer):
    """Alone in a batch, such a row would make the loss NaN."""
    nothing = {"words": ["\u200b", ""], "label": [1, 0]}
    task = words_task([{"words": ["the"], "label": [0]}, nothing])
    with pytest.raises(DataError, match=r"t-train: the tokenizer makes no tokens from the words .*"):
        task.tokenize("train", real_tokenizer)
    blind = Dataset.from_list([{"words": nothing["words"]}])
    task = words_task([{"words": ["the"], "label": [0]}], test=blind)
    assert task.tokenize("test", real_tokenizer)["word_positions"][:] == [[-1, -1]]


def words_task(rows, **splits):
    return Task("t", "token_classification", ("words",), ("O", "B-X", "I-X"), train=Dataset.from_list(rows), **splits)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    words=st.lists(
        st.one_of(st.text(max_size=12), st.sampled_from(["unbelievable", "\u200b", "", " ", "\x01", "日本", "it's"])),
        min_size=1,
        max_size=9,
    ).filter(lambda words: all(word.isprintable() or word in ("\x01", "\u200b") for word in words)),
    max_length=st.sampled_from([None, 6, 12]),
)
def test_labels_are_at_first_sub_words(real_tokenizer, words, max_length):
    """A word tokenised alone gives its number of sub-words. A word without any is skipped."""
    tokenizer = real_tokenizer
    labels = [number % 3 for number in range(len(words))]
    task = words_task([{"words": words, "label": labels}])
    if not any(map(tokenizer.tokenize, words)):
        with pytest.raises(DataError, match="the tokenizer makes no tokens from the"):
            task.tokenize("train", tokenizer, max_length)
        return
    row = task.tokenize("train", tokenizer, max_length)[0]
    limit = max_length or tokenizer.model_max_length
    expected, positions, place = [-100], [], 1
    for word, label in zip(words, labels, strict=True):
        size = len(tokenizer.tokenize(word))
        positions.append(place if size and place < limit - 1 else -1)
        expected += ([label] + [-100] * (size - 1)) if size else []
        place += size
    assert row["labels"] == [*expected[: limit - 1], -100]
    assert row["word_positions"] == positions
    assert len(row["labels"]) == len(row["input_ids"])


def trained(model, trainer, pre_tokenizer, normalizer=None):
    """A tokenizer of a text's words, of the family that `model` and `pre_tokenizer` define."""
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(
        ["Mary saw the unbelievable mat", "the cat sat on the mat", "2 22 on 22"] * 9, trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")


SPECIAL = ["[UNK]", "[PAD]"]
BPE = {
    "model": tokenizers.models.BPE(),
    "trainer": tokenizers.trainers.BpeTrainer(vocab_size=400, show_progress=False),
}
FAMILIES = {
    "RoBERTa, GPT-2, ModernBERT": lambda: trained(**BPE, pre_tokenizer=ByteLevel(add_prefix_space=False)),
    "with a prefix": lambda: trained(**BPE, pre_tokenizer=ByteLevel(add_prefix_space=True)),
    "XLM-R, DeBERTa-v3": lambda: trained(
        tokenizers.models.Unigram(),
        tokenizers.trainers.UnigramTrainer(
            vocab_size=60, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
        ),
        Metaspace(),
    ),
    "Qwen2, Llama 3": lambda: trained(
        **BPE, pre_tokenizer=Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    ),
    "Llama": lambda: trained(**BPE, pre_tokenizer=Metaspace(prepend_scheme="first")),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_tokenised_as_in_a_text(family):
    """Some tokenizers join the words of a list: no encoder was pretrained on `EUrejects`."""
    tokenizer = FAMILIES[family]()
    words = ["Mary", "saw", "the", "mat", "on", "22", "mat"]
    row = words_task([{"words": words, "label": [1, 0, 0, 0, 0, 0, 2]}]).tokenize("train", tokenizer)[0]
    text = tokenizer(" ".join(words), return_offsets_mapping=True)
    assert row["input_ids"] == text["input_ids"]
    # For each word, the first token with a part of the word, not only the space before it.
    starts = [sum(map(len, words[:number])) + number for number in range(len(words))]
    tokens = tokenizer.convert_ids_to_tokens(text["input_ids"])
    ends = [end if token.strip("Ġ▁") else 0 for token, (_, end) in zip(tokens, text["offset_mapping"], strict=True)]
    assert row["word_positions"] == [next(place for place, end in enumerate(ends) if end > start) for start in starts]


def test_a_word_with_only_its_space_left_is_cut_off():
    """The word is cut off: at that token a decoder has not read it."""
    tokenizer = FAMILIES["Qwen2, Llama 3"]()
    task = words_task([{"words": ["the", "22"], "label": [0, 1]}])
    whole = task.tokenize("train", tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(whole["input_ids"])[-3:] == ["Ġ", "2", "2"]
    length = len(whole["input_ids"]) - 2
    row = task.tokenize("train", tokenizer, length)[0]
    assert row["word_positions"] == [0, -1]
    assert row["labels"] == [0] + [-100] * (length - 1)


@pytest.mark.parametrize("kind", ["sequence_classification", "token_classification", "multiple_choice"])
def test_a_test_row_without_tokens_is_refused(kind):
    """A tokenizer without special tokens makes no tokens from an empty text, which no model accepts."""
    tokenizer = FAMILIES["Qwen2, Llama 3"]()
    rows = Dataset.from_dict({"text": ["the mat", ""], "choices": [["the", "mat"], ["the", ""]]})
    texts = {"context_template": "{text}", "choices_column": "choices"} if kind == "multiple_choice" else {}
    task = Task("t", kind, **(texts or {"text_columns": ("text",)}), labels=("n", "y"), test=rows)
    with pytest.raises(DataError, match=r"t-test: the tokenizer makes no tokens from the (text ' ?'|words \[\])"):
        task.tokenize("test", tokenizer)


def test_words_as_a_string_and_without_labels(tokenizer):
    rows = Dataset.from_dict({"words": ["the  cat", "a"]})
    test = words_task([{"words": ["the", "cat"], "label": [0, 1]}], test=rows).tokenize("test", tokenizer)
    assert test["word_positions"][:] == [[1, 2], [1]]
    assert "labels" not in test.column_names


def test_words_that_cannot_be_labelled_are_refused(tokenizer):
    with pytest.raises(DataError, match="only a fast tokenizer says which word"):
        words_task([{"words": "a", "label": [0]}]).tokenize("train", ByT5Tokenizer())
    good = {"words": "a b", "label": [0, 1]}
    with pytest.raises(DataError, match=r"t-train, row 1: the column 'label' holds \[0\], which does not fit 2 words"):
        words_task([good, {"words": "a b", "label": [0]}]).tokenize("train", tokenizer)
    with pytest.raises(DataError, match=r"t-train, row 1: .* does not fit 0 words"):
        words_task([good, {"words": " ", "label": []}]).tokenize("train", tokenizer)
    with pytest.raises(DataError, match="row 0: the column 'words' holds 3"):
        words_task([{"words": 3, "label": [0]}]).tokenize("train", tokenizer)


def test_choices(tokenizer):
    rows = Dataset.from_dict(
        {"q": ["a"] * 2, "one": ["cat", "dog"], "two": ["mat", "cat"], "three": ["dog", None], "label": [2, 0]}
    )
    task = Task("t", "multiple_choice", context_template="{q}", choice_columns=("one", "two", "three"), train=rows)
    ids = task.tokenize("train", tokenizer)["input_ids"]
    assert [len(row) for row in ids] == [3, 2]
    assert [tokenizer.decode(choice) for choice in ids[1]] == ["[CLS] a [SEP] dog [SEP]", "[CLS] a [SEP] cat [SEP]"]
    listed = Dataset.from_dict({"q": ["a"] * 2, "c": [["cat", "mat", "dog"], ["dog", "cat"]], "label": [2, 0]})
    same = Task("t", "multiple_choice", context_template="{q}", choices_column="c", train=listed)
    assert same.labels == ("0", "1", "2")
    assert same.tokenize("train", tokenizer)["input_ids"][:] == ids[:]


@pytest.mark.parametrize("choices", [{"choices_column": "c"}, {"choice_columns": ("one", "two", "three")}])
def test_a_label_that_is_not_a_choice_of_its_row_is_refused(tokenizer, choices):
    """2 is a label of rows with three choices; in a row of two, its loss would be infinite."""
    rows = Dataset.from_dict(
        {
            "q": ["a"] * 2, "c": [["cat", "mat", "dog"], ["dog", "cat"]],
            "one": ["cat", "dog"], "two": ["mat", "cat"], "three": ["dog", None], "label": [2, 2],
        }
    )  # fmt: skip
    task = Task("t", "multiple_choice", context_template="{q}", train=rows, **choices)
    with pytest.raises(DataError, match="t-train, row 1: the column 'label' holds 2, which does not fit 2 choices"):
        task.tokenize("train", tokenizer)


def test_no_rows_of_words_and_of_questions(tokenizer):
    nothing = Dataset.from_dict({"words": [], "label": []})
    empty = words_task([{"words": "a", "label": [0]}], validation=nothing).tokenize("validation", tokenizer)
    assert {"labels", "word_positions"} <= set(empty.column_names)
    answers = Dataset.from_dict({"text": [], "question_id": [], "label": []})
    task = Task("t", "sequence_classification", ("text",), ("n", "y"), metrics=("exact_match",), validation=answers)
    assert "question_id" in task.tokenize("validation", tokenizer).column_names


def test_masked_lm_needs_no_labels():
    rows = Dataset.from_dict({"text": ["the cat", "a dog"], "label": [0, 1]})
    tokenized = Task("t", "masked_lm", ("text",), train=rows).tokenize("train", make_tokenizer())
    assert "labels" not in tokenized.column_names
    with pytest.raises(ValueError, match="has no labels"):
        Task("t", "masked_lm", ("text",), ("a", "b"))
