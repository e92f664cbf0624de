"""Tokenisation of pairs and choices, and its cache."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from datasets import Dataset
from transformers import ByT5Tokenizer, DataCollatorForMultipleChoice, DataCollatorWithPadding

from hf_alphavil import MultitaskTrainingArguments, setup
from hf_alphavil.tasks import DataError, Task, load_tasks, tokenization
from hf_alphavil.tasks.fingerprints import tokenizer_identity
from support.forking import fork
from support.official_miniatures import make_tokenizer
from support.tokenized_tasks import tokenize_all, tokenize_with_cache


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "hf_alphavil"


def sentence_task(texts=("the cat sat", "a dog"), labels=(1, 0), **settings):
    rows = Dataset.from_dict({"text": list(texts), "label": list(labels)})
    return Task("mood", "sequence_classification", ("text",), ("bad", "good"), train=rows, **settings)


def test_pairs(miniature, tokenizer):
    task = load_tasks("rte", data_dir=miniature("rte"))["rte"]
    rows = task.tokenize("train", tokenizer, 64)
    assert set(rows.column_names) == {"input_ids", "attention_mask", "labels"}
    assert tokenizer.convert_ids_to_tokens(rows[0]["input_ids"]) == [
        "[CLS]",
        "[UNK]",
        "cat",
        "sat",
        "[SEP]",
        "[UNK]",
        "cat",
        "slept",
        "[SEP]",
    ]
    assert rows["labels"][:] == [0, 1, 0]
    batch = DataCollatorWithPadding(tokenizer)([rows[0], rows[1]])
    assert batch["labels"].tolist() == [0, 1]
    assert batch["input_ids"].shape == (2, 10)  # the quotation mark is a token


@pytest.mark.parametrize("name", ["rte", "cola", "stsb", "cb", "copa"])
def test_unlabelled_rows_have_no_labels(miniature, tokenizer, name):
    task = load_tasks(name, data_dir=miniature(name))[name]
    assert "labels" not in task.tokenize("test", tokenizer).column_names
    without = Task("t", "regression", ("text",), test=Dataset.from_dict({"text": ["the cat"]}))
    assert "labels" not in without.tokenize("test", tokenizer).column_names


def test_scores_are_floats(miniature, tokenizer):
    rows = load_tasks("stsb", data_dir=miniature("stsb"))["stsb"].tokenize("validation", tokenizer)
    assert rows["labels"][:] == [0.25, 1.25, 2.25]
    batch = DataCollatorWithPadding(tokenizer)([rows[0], rows[1]])
    assert batch["labels"].is_floating_point()
    whole = Task("t", "regression", ("text",), train=Dataset.from_dict({"text": ["the cat"], "label": [3]}))
    assert whole.tokenize("train", tokenizer).features["labels"].dtype.startswith("float")


def test_truncation(tokenizer):
    task = sentence_task(["the cat sat on the mat . " * 20, "a dog"])
    assert [len(row) for row in task.tokenize("train", tokenizer, 7)["input_ids"]] == [7, 4]
    assert len(task.tokenize("train", tokenizer)["input_ids"][0]) == 142
    tokenizer.model_max_length = 9
    assert len(task.tokenize("train", tokenizer)["input_ids"][0]) == 9
    assert len(task.tokenize("train", tokenizer, 50)["input_ids"][0]) == 9


def test_multiple_choice(miniature, tokenizer):
    task = load_tasks("copa", data_dir=miniature("copa"))["copa"]
    rows = task.tokenize("train", tokenizer, 64)
    texts = [[tokenizer.decode(choice, skip_special_tokens=False) for choice in row] for row in rows["input_ids"]]
    assert texts[0][0] == "[CLS] [UNK] cat sat [UNK] was the cause of this ? [SEP] [UNK] cat slept [SEP]"
    assert texts[0][1] == "[CLS] [UNK] cat sat [UNK] was the cause of this ? [SEP] [UNK] dog ran [SEP]"
    assert "happened as a result ? [SEP]" in texts[1][0]
    assert rows["labels"][:] == [0, 1, 0]
    batch = DataCollatorForMultipleChoice(tokenizer)([rows[0], rows[1], rows[2]])
    assert batch["input_ids"].shape[:2] == (3, 2)
    assert batch["labels"].tolist() == [0, 1, 0]


def test_braces_in_a_text_are_text(tokenizer):
    rows = Dataset.from_dict({"premise": ["{the} cat"], "a": ["dog"], "b": ["mat"], "label": [1]})
    task = Task("c", "multiple_choice", context_template="a {premise}", choice_columns=("a", "b"), train=rows)
    assert tokenizer.decode(task.tokenize("train", tokenizer)[0]["input_ids"][0][4:6]) == "[UNK] cat"


@pytest.mark.parametrize(
    ("texts", "labels", "reason"),
    [
        (["a", None], [0, 1], "mood-train, row 1: the column 'text' holds None"),
        (["a", "b"], [0, 2], "row 1: the column 'label' holds 2, which is not an id from 0 to 1"),
        (["a", "b"], [-1, 1], "row 0: the column 'label' holds -1"),
        (["a", "b"], [0.0, 1.0], "row 0: the column 'label' holds 0.0"),
        (["a", "b"], ["bad", "fine"], "task 'mood', train row 1: the label 'fine' is none of 'bad', 'good'"),
        (["a", "b"], [0, None], "row 1: the column 'label' holds None"),
        (["a", "b"], [-1, -1], "the train split has no labels"),
    ],
)
def test_bad_rows(tokenizer, texts, labels, reason):
    with pytest.raises(DataError, match=reason):
        sentence_task(texts, labels).tokenize("train", tokenizer)


def test_no_rows(tokenizer):
    task = sentence_task(validation=Dataset.from_dict({"text": [], "label": []}))
    rows = task.tokenize("validation", tokenizer)
    assert len(rows) == 0
    assert set(rows.column_names) == set(task.tokenize("train", tokenizer).column_names)


def test_formatted_rows(tokenizer):
    task = sentence_task()
    expected = task.tokenize("train", tokenizer).to_dict()
    task = replace(task, train=task.train.with_format("numpy"))
    assert task.tokenize("train", tokenizer).to_dict() == expected


def test_identity_of_a_tokenizer():
    tokenizer = make_tokenizer()
    identity = tokenizer_identity(tokenizer)
    tokenizer("the cat", truncation=True, max_length=3, padding="max_length")
    assert tokenizer_identity(tokenizer) == identity == tokenizer_identity(make_tokenizer())
    tokenizer.add_tokens(["horse"])
    assert tokenizer_identity(tokenizer) != identity
    other = make_tokenizer()
    other.truncation_side = "left"
    assert tokenizer_identity(other) != identity


def test_the_tokenizer_is_identified_once_for_all_tasks(monkeypatch, tokenizer, tmp_path, cache):
    identified = []
    for module in (setup.datasets, tokenization):
        monkeypatch.setattr(
            module, "tokenizer_identity", lambda given: identified.append(given) or tokenizer_identity(given)
        )
    tasks = {name: replace(sentence_task(), name=name) for name in ("mood", "tone", "voice")}
    args = MultitaskTrainingArguments(str(tmp_path / "out"), use_cpu=True)
    together = setup.datasets.tokenized_split(tasks, "train", tokenizer, args)
    assert identified == [tokenizer]
    alone = {name: task.tokenize("train", tokenizer, args.max_length) for name, task in tasks.items()}
    fingerprints = [{name: rows._fingerprint for name, rows in made.items()} for made in (together, alone)]
    assert fingerprints[0] == fingerprints[1]


def test_identity_of_a_tokenizer_in_python(cache):
    identities = {tokenizer_identity(ByT5Tokenizer(extra_ids=number)) for number in (0, 0, 5)}
    assert len(identities) == 2
    rows = sentence_task().tokenize("train", ByT5Tokenizer(), 8)
    assert [len(row) for row in rows["input_ids"]] == [8, 6]
    assert sentence_task().tokenize("train", ByT5Tokenizer(), 8)._fingerprint == rows._fingerprint
    assert len(list(cache.glob("*.arrow"))) == 1


def test_cache_hits_and_misses(monkeypatch, cache, tokenizer):
    calls = []
    original = tokenization._tokenize_batch
    monkeypatch.setattr(tokenization, "_tokenize_batch", lambda *a, **k: calls.append(1) or original(*a, **k))

    def misses(task, length=8):
        calls.clear()
        rows = task.tokenize("train", make_tokenizer(), length)
        assert rows["labels"][:] == task.train["label"][:]
        return len(calls), rows._fingerprint

    first = misses(sentence_task())
    assert first == (1, misses(sentence_task())[1])
    assert misses(sentence_task())[0] == 0
    assert misses(sentence_task(), length=4)[0] == 1
    assert misses(sentence_task(labels=(0, 1)))[0] == 1
    assert misses(sentence_task(texts=("the cat sat", "a mat")))[0] == 1
    assert misses(sentence_task().select(max_train_samples=1))[0] == 1
    other = Task("mood", "sequence_classification", ("text",), ("x", "y", "z"), train=sentence_task().train)
    assert misses(other)[0] == 1
    assert len(list(cache.glob("*.arrow"))) == 6
    assert all(file.name.startswith("mood-train-") for file in cache.iterdir())


def test_rows_are_checked_when_they_are_tokenised_and_not_again(monkeypatch, tokenizer):
    checked = []
    for check in ("check_texts", "check_labels"):
        monkeypatch.setattr(tokenization, check, lambda *args, check=check: checked.append(check))
    for _ in range(2):
        sentence_task().tokenize("train", tokenizer)
        assert checked == ["check_texts", "check_labels"]
    sentence_task(labels=(0, 0)).tokenize("train", tokenizer)
    assert len(checked) == 4


def copy_of(file, other):
    """Puts another task's file in place of a file."""
    shutil.copy(other, file)


def copy_with_record(file, other):
    copy_of(file, other)
    copy_of(f"{file}.json", f"{other}.json")


def cut_off(file, other):
    file.write_bytes(file.read_bytes()[:-100])


def change_a_token(file, other):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty_file(file, other):
    file.write_bytes(b"")


def no_record(file, other):
    Path(f"{file}.json").unlink()


def no_json(file, other):
    Path(f"{file}.json").write_text("{")


def dangling_link(file, other):
    file.unlink()
    file.symlink_to("nowhere")


DAMAGES = [copy_of, copy_with_record, cut_off, change_a_token, empty_file, no_record, no_json, dangling_link]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_cache_is_made_again(damage, cache, tokenizer, caplog):
    expected = sentence_task().tokenize("train", tokenizer, 8).to_dict()
    (file,) = cache.glob("*.arrow")
    sentence_task(texts=("a mat", "the dog sat")).tokenize("train", tokenizer, 8)
    (other,) = set(cache.glob("*.arrow")) - {file}
    damage(file, other)
    assert sentence_task().tokenize("train", tokenizer, 8).to_dict() == expected
    assert f"{file} does not hold the rows that it was written with: it is made again" in caplog.text
    caplog.clear()
    assert sentence_task().tokenize("train", tokenizer, 8).to_dict() == expected
    assert not caplog.text


def test_a_cache_that_cannot_be_replaced_is_not_used(cache, tokenizer):
    expected = sentence_task().tokenize("train", tokenizer, 8).to_dict()
    (file,) = cache.glob("*.arrow")
    file.unlink()
    file.mkdir()
    assert sentence_task().tokenize("train", tokenizer, 8).to_dict() == expected


@pytest.mark.parametrize("truncation", [None, {"max_length": 3, "stride": 1}], ids=str)
@pytest.mark.parametrize("padding", [None, {"length": 5, "direction": "left"}], ids=str)
def test_tokenisation_leaves_the_tokenizer_as_it_was(truncation, padding, cache):
    """So its file is the same whether the cache was hit or missed."""
    for length in (4, 4, None):  # a miss, a hit, a miss
        tokenizer = make_tokenizer()
        if truncation is not None:
            tokenizer.backend_tokenizer.enable_truncation(**truncation)
        if padding is not None:
            tokenizer.backend_tokenizer.enable_padding(**padding)
        before = tokenizer.backend_tokenizer.to_str()
        sentence_task().tokenize("train", tokenizer, length)
        assert tokenizer.backend_tokenizer.to_str() == before


def test_caching_turned_off(cache, tokenizer):
    datasets.disable_caching()
    try:
        assert len(sentence_task().tokenize("train", tokenizer)) == 2
    finally:
        datasets.enable_caching()
    assert not cache.exists()


def test_cache_folder_that_cannot_be_written(cache, tokenizer):
    cache.parent.write_text("a file where the folder should be")
    assert len(sentence_task().tokenize("train", tokenizer)) == 2


def test_a_second_process_finds_the_cache(miniature, cache):
    miniature("rte")
    data = str(miniature("copa"))
    calls, content = tokenize_all(data)
    again = fork(tokenize_with_cache, data, cache.parent)
    assert again.returncode == 0, again.stderr
    calls_again, content_again = again.result
    assert (calls, calls_again) == ([1] * 4, [0] * 4)
    assert content == content_again


@pytest.mark.slow
def test_a_process_with_another_seed_of_hashes_finds_the_cache(miniature, cache):
    miniature("rte")
    data = str(miniature("copa"))
    calls, content = tokenize_all(data)
    command = [sys.executable, "-m", "support.tokenized_tasks", data]
    environment = os.environ | {"HF_DATASETS_CACHE": str(cache.parent), "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls_again, content_again = json.loads(done.stdout.splitlines()[-1])
    assert (calls, calls_again) == ([1] * 4, [0] * 4)
    assert content == content_again


@pytest.mark.parametrize("name", ["rte", "copa", "stsb"])
def test_real_rows(real_data, tokenizer, name):
    task = load_tasks(name, data_dir=real_data)[name].select(max_train_samples=40, max_eval_samples=20)
    assert len(task.tokenize("train", tokenizer, 32)) == 40
    assert len(task.tokenize("validation", tokenizer, 32)) == 20
