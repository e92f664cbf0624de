"""The demo suite is deterministic and balanced, follows its rules, and has no leakage between splits."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hf_alphavil.demo.suite import demo_encoder, demo_lexicon, demo_tasks


@pytest.fixture(scope="module")
def tasks():
    return demo_tasks(seed=0)


def splits_of(task):
    return {name: rows for name in ("train", "validation", "test") if (rows := getattr(task, name)) is not None}


def majority(text, words):
    """The rule, written independently of the package: 1 if most words of the sentence are among `words`, else 0."""
    sentence = text.split(" ")
    count = 0
    for word in sentence:
        if word in words:
            count += 1
    return 1 if count > len(sentence) - count else 0


def test_the_tasks_are_those_of_the_table(tasks):
    assert list(tasks) == ["target", "helpful", "unrelated", "noise"]
    sizes = {name: {split: len(rows) for split, rows in splits_of(task).items()} for name, task in tasks.items()}
    assert sizes.pop("target")["test"] >= 2000
    assert all(set(of_task) == {"train", "validation"} for of_task in sizes.values())
    assert len(tasks["target"].train) < min(of_task["train"] for of_task in sizes.values()) / 5


def test_a_seed_determines_the_suite(tasks):
    again, other = demo_tasks(seed=0), demo_tasks(seed=1)
    for name, task in tasks.items():
        for split, rows in splits_of(task).items():
            assert rows.to_dict() == getattr(again[name], split).to_dict()
            assert rows["text"] != getattr(other[name], split)["text"]


def test_labels_are_balanced(tasks):
    for task in tasks.values():
        for rows in splits_of(task).values():
            assert abs(2 * sum(rows["label"]) - len(rows)) <= 1


@pytest.mark.parametrize(
    ("name", "group"), [("target", "warm"), ("helpful", "warm"), ("unrelated", "round"), ("target", "round")]
)
def test_labels_follow_the_rule(tasks, name, group):
    lexicon = demo_lexicon(seed=0)
    words = {word for word, is_member in zip(lexicon.words, getattr(lexicon, group), strict=True) if is_member}
    for rows in splits_of(tasks[name]).values():
        agreement = sum(majority(row["text"], words) == row["label"] for row in rows) / len(rows)
        if (name, group) == ("target", "round"):
            assert agreement < 0.65
        else:
            assert agreement == 1.0


def test_noise_follows_no_rule(tasks):
    lexicon = demo_lexicon(seed=0)
    rows = tasks["noise"].train
    for group in (lexicon.warm, lexicon.round):
        words = {word for word, is_member in zip(lexicon.words, group, strict=True) if is_member}
        agreement = sum(majority(row["text"], words) == row["label"] for row in rows) / len(rows)
        assert 0.45 < agreement < 0.55


def test_groups_are_halves_and_independent():
    lexicon = demo_lexicon(seed=0)
    assert len(set(lexicon.words)) == len(lexicon.words)
    assert lexicon.warm.mean() == lexicon.round.mean() == 0.5
    assert abs((lexicon.warm == lexicon.round).mean() - 0.5) < 0.1


def test_no_sentence_occurs_twice(tasks):
    texts = [text for task in tasks.values() for rows in splits_of(task).values() for text in rows["text"]]
    assert len(set(texts)) == len(texts)
    assert {len(text.split(" ")) for text in texts} <= set(range(8, 15))


def test_the_encoder_is_an_ordinary_folder(tmp_path, tasks):
    demo_encoder(tmp_path / "encoder", seed=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "encoder")
    model, info = AutoModel.from_pretrained(tmp_path / "encoder", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    rows = tasks["target"].tokenize("train", tokenizer)
    assert rows[0]["input_ids"][0] == tokenizer.cls_token_id
    assert rows[0]["input_ids"][-1] == tokenizer.sep_token_id
    assert len(rows[0]["input_ids"]) == len(tasks["target"].train[0]["text"].split(" ")) + 2
    assert all(tokenizer.unk_token_id not in row["input_ids"] for row in rows)
    assert tokenizer.decode(rows[0]["input_ids"], skip_special_tokens=True) == tasks["target"].train[0]["text"]
    assert len(tokenizer) == model.config.vocab_size


def test_the_encoder_depends_only_on_the_seed(tmp_path):
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        demo_encoder(tmp_path / name, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    a, b, c = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in "abc")
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    assert any(not torch.equal(value, c[name]) for name, value in a.items())
