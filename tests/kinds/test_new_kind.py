"""A kind and a task are added as docs/tasks.md says: one file and one line, and one YAML file."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task, load_tasks
from hf_alphavil.kinds import KINDS, TaskKind, register_kind
from hf_alphavil.tasks import write_submission
from support.kinds_run import WORDS, every_kind, kinds_trainer, word_tokenizer
from support.own_files import write_rows

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
LABELS = ["bad", "fair", "good"]


def block(start):
    """The code block of the page that begins with a line."""
    (text,) = [part for part in PAGE.split("```") if part.partition("\n")[2].startswith(f"{start}\n")]
    return text.partition("\n")[2]


@pytest.fixture
def stars(tmp_path) -> Iterator[Task]:
    """The page's task of the page's kind, on invented reviews whose length is their label."""
    known = set(KINDS)
    exec(compile(block("# ordinal.py"), "ordinal.py", "exec"), {"__name__": "ordinal"})
    draw = random.Random(0)
    for name, count in (("stars", 24), ("stars_dev", 8), ("stars_test", 5)):
        labels = [LABELS[number % 3] for number in range(count)]
        texts = [" ".join(draw.choices(WORDS, k=2 + 3 * LABELS.index(label))) for label in labels]
        rows = [{"review": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        write_rows(tmp_path / f"{name}.csv", rows)
    (tmp_path / "stars.yaml").write_text(block("# stars.yaml"), encoding="utf-8")
    yield load_tasks(str(tmp_path / "stars.yaml"))["stars"]
    for name in set(KINDS) - known:
        del KINDS[name]


def test_a_new_kind_trains_beside_another_and_predicts(stars, tmp_path):
    tasks = {"stars": stars, "names": every_kind()["names"]}
    encoder = kinds_trainer(tmp_path / "other").model.config.encoder
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=encoder, tasks=tasks))
    assert model.tasks["stars"].config.num_labels == 1
    args = kinds_trainer(tmp_path / "run", target="names", num_train_epochs=2).args
    args.target_task = "stars"
    trainer = MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=word_tokenizer())
    trainer.train()
    assert set(trainer.history[-1]["alpha"]) == {"stars", "names"}
    batch = trainer.data_collator([trainer.train_datasets["stars"][row] for row in range(3)])
    assert batch["labels"].is_floating_point()
    assert batch["input_ids"].shape[1] % 8 == 0

    scores = trainer.evaluate("stars")
    predicted = trainer.predict("stars").predictions
    validation = trainer.predict(trainer.eval_dataset["stars"]).predictions[:, 0]
    labels = np.array(stars.validation["label"])
    assert scores["eval_stars_mean_absolute_error"] == pytest.approx(np.abs(validation - labels).mean())
    assert scores["eval_stars_accuracy"] == np.mean(validation.round().clip(0, 2) == labels)
    file = write_submission(stars, predicted, tmp_path)
    expected = [f"{row}\t{LABELS[int(number)]}" for row, number in enumerate(predicted[:, 0].round().clip(0, 2))]
    assert file.read_text().splitlines() == ["index\tprediction", *expected]
    trainer.create_model_card()
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "| ordinal | 24 |" in card


def test_messages_list_a_new_kind(stars):
    with pytest.raises(ValueError, match=r"unknown kind .cardinal.; pass one of sequence_classification, .*, ordinal"):
        Task("t", "cardinal", ("text",))
    with pytest.raises(ValueError, match="metric 'f1' does not fit the kind 'ordinal'; pass mean_abs"):
        Task("t", "ordinal", ("text",), ("a", "b"), metrics=("f1",))


def test_a_name_belongs_to_one_kind():
    class Again(TaskKind):
        name = "regression"

    with pytest.raises(ValueError, match="there is a kind 'regression' already"):
        register_kind(Again())
