"""Tasks defined only by a YAML file: trained by the command line, exported and used without this package."""

import json
import random

import pytest
import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer, pipeline

from support.driving import drive, is_plain, read

SHORT = ["--max_seq_length", "24", "--disable_tqdm", "true", "--save_strategy", "no", "--do_train", "--do_eval"]
SHORT += ["--alpha_steps", "2", "--max_predict_samples", "16"]
ANIMALS = ("cat", "dog", "horse", "cow", "goat", "duck", "frog", "bee", "wolf", "owl")
NAMES = ("Mary", "John", "Peter", "Susan", "Paul", "Anna")

YAML = """
quiz:
  kind: multiple_choice
  context_template: "{fact} Which animal was it?"
  choice_columns: [a, b, c, d, e]
  files:
    splits: {train: quiz.jsonl, test: quiz_test.jsonl}
    columns: {label: answer}
  validation_fraction: 0.2
names:
  kind: token_classification
  text_columns: [words]
  labels: [O, B-PER]
  label_column: tags
  files:
    splits: {train: names.csv, test: names_test.csv}
  validation_fraction: 0.2
"""


@pytest.fixture
def own_tasks(tmp_path):
    """A folder with `tasks.yaml` and its generated data."""
    draw = random.Random(0)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "tasks.yaml").write_text(YAML, encoding="utf-8")

    def question(labelled):
        choices = draw.sample(ANIMALS, 5)
        answer = draw.randrange(5)
        row = {"fact": f"A {choices[answer]} ran away."} | dict(zip("abcde", choices, strict=True))
        return json.dumps(row | ({"answer": answer} if labelled else {}))

    def sentence(labelled):
        words = ["Then", draw.choice(NAMES), "saw", draw.choice(("the", "a")), draw.choice(ANIMALS)]
        draw.shuffle(words)
        tags = " ".join("B-PER" if word in NAMES else "O" for word in words)
        return " ".join(words) + (f",{tags}" if labelled else "")

    (folder / "quiz.jsonl").write_text("".join(question(True) + "\n" for _ in range(200)), encoding="utf-8")
    (folder / "quiz_test.jsonl").write_text("".join(question(False) + "\n" for _ in range(10)), encoding="utf-8")
    lines = ["words,tags", *(sentence(True) for _ in range(200))]
    (folder / "names.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["words", *(sentence(False) for _ in range(10))]
    (folder / "names_test.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_five_way_choice_with_rte(own_tasks, data_dir, small_encoder, tmp_path):
    out = tmp_path / "out"
    drive(
        "--target", "quiz", "--auxiliary", "rte", "--task_config", own_tasks / "tasks.yaml", "--data_dir", data_dir,
        "--model_name_or_path", small_encoder, "--output_dir", out, "--num_train_epochs", "1", "--do_predict",
        "--max_train_samples", "96", "--max_eval_samples", "24", "--learning_rate", "5e-4", *SHORT,
        "--max_seq_length", "16",
    )  # fmt: skip
    assert set(read(out / "alphavil_history.json")[0]["alpha"]) == {"quiz", "rte"}
    assert 0 <= read(out / "eval_results.json")["eval_quiz_accuracy"] <= 1
    model = AutoModelForMultipleChoice.from_pretrained(out / "export" / "quiz").eval()
    assert is_plain(model)
    words = AutoTokenizer.from_pretrained(out / "export" / "quiz")
    inputs = words(["A cow ran away. Which animal was it?"] * 5, list(ANIMALS[:5]), return_tensors="pt", padding=True)
    with torch.no_grad():
        assert model(**{name: value[None] for name, value in inputs.items()}).logits.shape == (1, 5)
    lines = (out / "predictions" / "quiz.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11
    assert {line.split("\t")[1] for line in lines[1:]} <= set("abcde")


def test_token_classification_with_rte(own_tasks, data_dir, small_encoder, tmp_path):
    out = tmp_path / "out"
    drive(
        "--target", "names", "--auxiliary", "rte", "--include_path", own_tasks, "--data_dir", data_dir,
        "--model_name_or_path", small_encoder, "--output_dir", out, "--num_train_epochs", "3", "--do_predict",
        "--max_train_samples", "120", "--max_eval_samples", "40", "--learning_rate", "2e-2", *SHORT,
        "--alphavil_preset", "paper", "--eval_strategy", "epoch", "--save_strategy", "best",
        "--load_best_model_at_end", "--early_stopping_patience", "1", "--early_stopping_threshold", "2",
    )  # fmt: skip
    history = read(out / "alphavil_history.json")
    assert len(history) == 2  # no epoch is better by 2
    assert set(history[0]["alpha"]) == {"names", "rte"}
    assert read(out / "eval_results.json")["eval_names_span_f1"] > 0.5
    tag = pipeline("token-classification", model=str(out / "export" / "names"), device="cpu", ignore_labels=[])
    assert is_plain(tag.model)
    assert {word["entity"] for word in tag("Then Mary saw the old dog.")} <= {"O", "B-PER"}
    rows = [json.loads(line) for line in (out / "predictions" / "names.jsonl").read_text("utf-8").splitlines()]
    assert [len(row["labels"]) for row in rows] == [5] * 10
