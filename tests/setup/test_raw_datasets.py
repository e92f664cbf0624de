"""Datasets of texts by task: the trainer makes tasks of them and tokenises them, or says why it cannot."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from transformers import BertConfig, DataCollatorWithPadding, default_data_collator

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from support.kinds_run import every_kind, word_tokenizer
from support.toy_run import toy_args, toy_data, toy_model

CONFIG = BertConfig(
    vocab_size=25, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=40, initializer_range=0.5,
)  # fmt: skip
PAIR, SCORE = every_kind()["pair"], every_kind()["score"]


def raw(task, split="train", **renamed):
    rows = getattr(task, split)
    rows = rows.remove_columns([name for name in ("other", "idx") if name in rows.column_names])
    if task is PAIR:
        rows = rows.cast_column("label", ClassLabel(names=["a", "b"]))
    return rows.rename_columns(renamed)


def pair(**renamed):
    return DatasetDict({split: raw(PAIR, split, **renamed) for split in ("train", "validation", "test")})


def trainer_of(folder, train, tasks=None, tokenizer=True, target="pair", **arguments):
    torch.manual_seed(0)
    heads = arguments.pop("heads", train)
    model = arguments.pop("model", None) or MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks=heads))
    return MultitaskTrainer(
        model=model,
        args=toy_args(folder, target_task=target, alpha_data="train", num_train_epochs=1, max_length=30),
        train_dataset=train,
        tasks=tasks,
        processing_class=word_tokenizer() if tokenizer else None,
        **arguments,
    )


def test_raw_rows_train_and_evaluate_as_their_tasks_do(tmp_path, caplog):
    data = {"pair": pair(label="labels"), "score": raw(SCORE)}
    trainer = trainer_of(tmp_path / "raw", data, eval_dataset={"score": raw(SCORE, "validation")})
    splits = {split: raw(PAIR, split) for split in ("train", "validation", "test")}
    tasks = [
        Task("pair", "sequence_classification", "text", ("a", "b"), **splits),
        Task("score", "regression", "text", train=raw(SCORE), validation=raw(SCORE, "validation")),
    ]
    other = trainer_of(tmp_path / "tasks", None, tasks, heads=tasks)
    for one in (trainer, other):
        one.train()
    weights = other.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trainer.model.state_dict().items())
    scores = trainer.evaluate()
    assert scores["eval_pair_accuracy"] == other.evaluate()["eval_pair_accuracy"]
    assert trainer.evaluate(pair(label="labels")["validation"])["eval_pair_loss"] == scores["eval_pair_loss"]
    again = trainer.evaluate({"score": raw(SCORE, "validation")})
    assert again["eval_score_loss"] == trainer.evaluate("score")["eval_score_loss"]
    predicted = trainer.predict("pair").predictions
    np.testing.assert_array_equal(trainer.predict(pair()["test"]).predictions, predicted)
    np.testing.assert_array_equal(trainer.predict(pair()["test"].remove_columns("label")).predictions, predicted)
    assert "max_length" not in caplog.text


def test_tokenised_and_raw_rows_and_tasks_go_together(tmp_path, caplog):
    tokenised = Task.from_dataset("pair", pair()).tokenize("train", word_tokenizer())
    data = {"pair": tokenised, "score": raw(SCORE), "prose": every_kind()["prose"]}
    trainer = trainer_of(tmp_path, data, eval_dataset=tokenised)
    assert trainer.train_datasets["pair"].dataset is tokenised
    assert list(trainer.train_datasets) == ["pair", "score", "prose"]
    assert set(trainer.eval_dataset) == {"pair", "prose"}
    assert "max_length=30 does not change the rows of pair, which you have tokenised." in caplog.messages
    with pytest.raises(ValueError, match=r"rows of task 'pair' have the columns text, label and no input_ids"):
        trainer.evaluate(raw(PAIR, "validation"))


def test_the_head_says_what_columns_leave_open(tmp_path):
    heads = {"pair": {"kind": "sequence_classification", "labels": ["a", "b"]}}
    rows = PAIR.train.remove_columns("other")  # ids without names
    trainer = trainer_of(tmp_path, {"pair": rows}, heads=heads)
    assert trainer.task_setup.tasks["pair"].labels == ("a", "b")
    assert trainer.train_datasets["pair"].labels() == rows["label"][:]


def test_numbers_that_name_the_heads_labels_are_names(tmp_path):
    rows = PAIR.train.remove_columns("other").map(lambda row: {"label": row["label"] + 1})
    trainer = trainer_of(tmp_path, {"pair": rows})
    assert trainer.model.config.tasks["pair"]["labels"] == ["1", "2"]
    assert trainer.train_datasets["pair"].labels() == PAIR.train["label"][:]


def stars(count, most):
    return Dataset.from_dict({
        "text": [f"w{number % 20} w{number % 7}" for number in range(count)],
        "label": [1 + number % most for number in range(count)],
    })  # fmt: skip


def test_stars_from_1_to_5_are_names_in_rows_without_the_fifth_too(tmp_path):
    task, low = Task.from_dataset("pair", stars(20, 5)), stars(8, 4)
    wanted = [number % 4 for number in range(8)]
    trainer = trainer_of(tmp_path / "evaluated", None, [task], heads=[task], eval_dataset={"pair": low})
    assert trainer.eval_dataset["pair"].labels() == trainer.predict(low).label_ids.tolist() == wanted
    assert trainer.evaluate(low)["eval_pair_loss"] == trainer.evaluate()["eval_pair_loss"]
    trained = trainer_of(tmp_path / "trained", {"pair": low}, [task], heads=[task])
    assert trained.train_datasets["pair"].labels() == wanted
    trainer.save_model(tmp_path / "saved")
    of_head = trainer_of(tmp_path / "head", {"pair": low}, model=MultitaskModel.from_pretrained(tmp_path / "saved"))
    assert of_head.train_datasets["pair"].labels() == wanted


REFUSED = {
    "no tokenizer": (
        {"pair": raw(PAIR)}, {"tokenizer": False}, "'pair' is not tokenised, it has the columns text, label"
    ),
    "two texts": ({"pair": PAIR.train}, {"heads": [PAIR]}, "'text', 'other' may be the texts"),
    "splits": (pair(), {"heads": [PAIR]}, "train_dataset has the splits train, validation, test instead"),
    "no training rows": (
        {"pair": DatasetDict(validation=raw(PAIR))}, {"heads": [PAIR]}, "task 'pair' has no training rows"
    ),
    "no dataset": (None, {"tasks": {"pair": [1]}, "heads": [PAIR]}, "a list under 'pair': pass a Task"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_guessed_is_refused_before_training(case, tmp_path):
    data, arguments, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        trainer_of(tmp_path, data, **arguments)


def test_a_collator_of_the_users_own_may_tokenise(tmp_path):
    tokenizer = word_tokenizer()

    def collate(rows):
        batch = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    args = {"heads": [Task.from_dataset("pair", pair())]}
    own = trainer_of(tmp_path, {"pair": raw(PAIR)}, data_collator=collate, **args)
    assert own.train_datasets["pair"].dataset.column_names == ["text", "label"]
    for collator in (DataCollatorWithPadding(tokenizer), default_data_collator):
        trainer = trainer_of(tmp_path, {"pair": raw(PAIR)}, data_collator={"pair": collator}, **args)
        assert "input_ids" in trainer.train_datasets["pair"].dataset.column_names


def test_a_module_that_reads_no_tokens_gets_its_rows_as_they_are(tmp_path):
    rows, _ = toy_data()
    named = Dataset.from_list(
        [{**{key: value.tolist() for key, value in row.items()}, "note": "x"} for row in rows["a"]]
    )
    trainer = trainer_of(
        tmp_path, {"a": named.with_format("torch", output_all_columns=True)}, model=toy_model(), target="a",
        tokenizer=False,
    )  # fmt: skip
    assert trainer.train_datasets["a"].dataset.column_names == ["x", "labels", "note"]
