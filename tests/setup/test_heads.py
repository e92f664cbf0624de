"""Heads of a saved model against the tasks of a new run: equal sets of labels are mapped, all else is refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset
from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from hf_alphavil.modeling.lora import LoraArguments, add_lora, load_model
from support.kinds_run import every_kind, word_tokenizer
from support.toy_run import TARGET, toy_args, toy_data, toy_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

CONFIG = BertConfig(
    vocab_size=25, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=40, initializer_range=0.5,
)  # fmt: skip
TASKS = every_kind()


def saved(folder, *names, lora=False):
    """The folder of an encoder, and of a model with heads, untrained: what its heads say does not matter here."""
    torch.manual_seed(0)
    MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]})).encoder.save_pretrained(
        folder / "encoder"
    )
    model = load_model(str(folder / "encoder"), {name: TASKS[name] for name in names}, LoraArguments(use_peft=lora))
    trainer_of(model, folder, *(TASKS[name] for name in names)).save_model(str(folder / "saved"))
    return str(folder / "saved")


def trainer_of(model, folder, *tasks, **settings):
    return MultitaskTrainer(
        model=model,
        args=toy_args(folder / "run", target_task=tasks[0].name, num_train_epochs=1, alpha_data="train", **settings),
        tasks={task.name: task for task in tasks},
        processing_class=word_tokenizer(),
    )


def in_order(task, order):
    """The task with its labels in another order, and the same rows."""

    def new_ids(label):
        return [order.index(one) for one in label] if isinstance(label, list) else order.index(label)

    rows = {
        split: getattr(task, split).map(lambda row: {task.label_column: new_ids(row[task.label_column])})
        for split in ("train", "validation", "test")
    }
    return replace(task, labels=tuple(task.labels[one] for one in order), **rows)


@pytest.mark.parametrize(
    ("name", "order", "lora"),
    [
        ("pair", [1, 0], False),
        ("pair", [1, 0], True),
        ("tags", [2, 0, 1], False),
        ("names", [1, 2, 0], True),
        pytest.param("tags", [2, 0, 1], True, marks=pytest.mark.slow),
        pytest.param("names", [1, 2, 0], False, marks=pytest.mark.slow),
    ],
)
def test_labels_in_another_order_score_the_same(name, order, lora, tmp_path, caplog):
    path = saved(tmp_path, name, lora=lora)
    load = lambda tasks: load_model(path, tasks, LoraArguments())  # noqa: E731
    task, other = TASKS[name], in_order(TASKS[name], order)
    before = trainer_of(load({name: task}), tmp_path, task)
    after = trainer_of(load({name: other}), tmp_path, other)
    assert f"has the labels {list(task.labels)}, and the task has {list(other.labels)}" in caplog.text
    scores, again = before.evaluate(), after.evaluate()
    assert scores.pop(f"eval_{name}_loss") == pytest.approx(again.pop(f"eval_{name}_loss"), rel=1e-5)
    for key in scores:
        assert key.endswith(("runtime", "per_second", "time")) or scores[key] == again[key], key
    predicted = before.predict().predictions[..., order]
    np.testing.assert_allclose(predicted, after.predict().predictions, atol=1e-6)
    # What the second run saves has its own order.
    after.train()
    after.save_model(str(tmp_path / "again"))
    after.export_task(name, tmp_path / "export")
    caplog.clear()
    third = trainer_of(load_model(str(tmp_path / "again"), {name: other}, LoraArguments()), tmp_path, other)
    assert "has the labels" not in caplog.text
    np.testing.assert_allclose(third.predict().predictions, after.predict().predictions, atol=1e-6)
    if name == "pair":
        exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export")
        assert exported.config.id2label == dict(enumerate(other.labels))


def test_adapters_without_a_description_of_their_heads(tmp_path, caplog):
    """A folder that an earlier version saved."""
    path = saved(tmp_path, "pair", lora=True)
    (tmp_path / "saved" / "config.json").unlink()
    load_model(path, {"pair": TASKS["pair"]}, LoraArguments())
    assert "does not say which labels its heads have" in caplog.text


CHANGES = {
    "another label": {"labels": ("a", "c")},
    "no label in common": {"labels": ("x", "y")},
    "more labels": {"labels": ("a", "b", "c")},
    "other spelling": {"labels": ("A", "B")},
    "several labels at once": {"labels": ("a", "b"), "problem_type": "multi_label_classification", "metrics": ()},
    "regression": {"kind": "regression", "labels": None, "problem_type": None, "metrics": ()},
    "masked words": {"kind": "masked_lm", "labels": None, "problem_type": None, "metrics": ()},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_set_of_labels_or_kind_is_refused_with_both(change, tmp_path):
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]}))
    task = replace(TASKS["pair"], main_metric="", greater_is_better=None, **change)
    if task.is_multi_label:
        task = replace(task, train=task.train.map(lambda row: {"label": [row["label"]]}), validation=None)
    message = r"head of task 'pair'.*'a', 'b'.*and the task.*start from an encoder"
    with pytest.raises(ValueError, match=message) as error:
        trainer_of(model, tmp_path, task)
    for label in change["labels"] or [change["kind"].replace("_", " ")]:
        assert label in str(error.value)


def test_fewer_labels_than_the_head_has(tmp_path):
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"tags": TASKS["tags"]}))
    rows = {split: getattr(TASKS["tags"], split).map(lambda row: {"label": []}) for split in ("train", "validation")}
    with pytest.raises(ValueError, match=r"has the labels \['x', 'y', 'z'\], and the task has \['x', 'y'\]"):
        trainer_of(model, tmp_path, replace(TASKS["tags"], labels=("x", "y"), **rows))


def test_an_auxiliary_is_compared_too(tmp_path):
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={name: TASKS[name] for name in ("score", "pair")}))
    with pytest.raises(ValueError, match=r"head of task 'pair' has the labels"):
        trainer_of(model, tmp_path, TASKS["score"], replace(TASKS["pair"], labels=("a", "z")))


def test_a_choice_model_takes_other_numbers_of_choices(tmp_path):
    """Its head scores one choice, so that labels are no outputs."""
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"quiz": TASKS["quiz"]}))
    trainer = trainer_of(model, tmp_path, replace(TASKS["quiz"], labels=tuple("abcdefg")))
    trainer.train()
    assert trainer.model.config.tasks["quiz"]["labels"] == list("abcdefg")


def test_a_model_that_is_made_for_each_run(tmp_path):
    """A hyper-parameter search makes a new one for each trial."""
    other = in_order(TASKS["pair"], [1, 0])

    def new_model():
        torch.manual_seed(0)
        return MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]}))

    trainer = MultitaskTrainer(
        model_init=new_model,
        args=toy_args(tmp_path, num_train_epochs=1, alpha_data="train", target_task="pair"),
        tasks={"pair": other},
        processing_class=word_tokenizer(),
    )
    for _ in range(2):
        trainer.train()
        assert trainer.model.config.tasks["pair"]["labels"] == ["b", "a"]


def test_a_checkpoint_of_a_run_with_another_order_is_refused(tmp_path):
    def run(task, **settings):
        model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": task}))
        return trainer_of(model, tmp_path, task, save_strategy="steps", save_steps=2, **settings)

    run(TASKS["pair"]).train()
    checkpoint = str(tmp_path / "run" / "checkpoint-2")
    run(TASKS["pair"]).train(resume_from_checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"head of pair.labels=.*\['a', 'b'\].*this run has .*\['b', 'a'\]"):
        run(in_order(TASKS["pair"], [1, 0])).train(resume_from_checkpoint=checkpoint)


# ---- Datasets of a user's own, which may name their labels


def tokens(labels, names=None, column="labels"):
    rows = Dataset.from_dict({"input_ids": [[5 + n % 20, 3] for n in range(len(labels))], column: labels})
    return rows if names is None else rows.cast_column(column, ClassLabel(names=names))


def own_sets(model, folder, train, validation=None, **arguments):
    args = toy_args(folder, target_task="pair", num_train_epochs=1, alpha_data="train")
    sets = {"train_dataset": {"pair": train}, "eval_dataset": {"pair": validation or train}}
    return MultitaskTrainer(model=model, args=args, processing_class=word_tokenizer(), **sets, **arguments)


@pytest.mark.parametrize("column", ["labels", "label"])
def test_datasets_that_name_their_labels_in_another_order(column, tmp_path):
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]}))
    labels = [number % 2 for number in range(20)]
    before = own_sets(copy.deepcopy(model), tmp_path, tokens(labels, ["a", "b"], column)).evaluate()
    flipped = tokens([1 - label for label in labels], ["b", "a"], column)
    after = own_sets(copy.deepcopy(model), tmp_path, flipped).evaluate()
    assert after["eval_pair_loss"] == pytest.approx(before["eval_pair_loss"], rel=1e-5)
    other_words = own_sets(copy.deepcopy(model), tmp_path, tokens(labels, ["yes", "no"], column))
    assert other_words.evaluate()["eval_pair_loss"] == before["eval_pair_loss"]
    with pytest.raises(ValueError, match=r"names its label ids \['b', 'a'\], and the task's labels are \['a', 'b'\]"):
        own_sets(model, tmp_path, tokens(labels, ["a", "b"], column), flipped)


def test_rows_to_evaluate_that_name_their_labels_in_another_order(tmp_path):
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]}))
    labels = [number % 2 for number in range(20)]
    rows, flipped = tokens(labels, ["a", "b"]), tokens([1 - label for label in labels], ["b", "a"])
    trainer = own_sets(model, tmp_path, rows)
    message = r"names its label ids \['b', 'a'\], and the task's labels are \['a', 'b'\]"
    for call in (trainer.evaluate, trainer.predict, lambda rows: trainer.evaluate({"pair": rows})):
        with pytest.raises(ValueError, match=message):
            call(flipped)
    aligned = flipped.align_labels_with_mapping({"a": 0, "b": 1}, "labels")
    assert trainer.predict(aligned).label_ids.tolist() == labels
    assert trainer.evaluate(aligned)["eval_pair_loss"] == trainer.evaluate()["eval_pair_loss"]
    trainer.evaluate(tokens(labels, ["yes", "no"]))  # other words for them


def test_rows_that_name_the_labels_of_their_task_in_another_order():
    rows = Dataset.from_dict({"text": ["w1", "w2"], "label": [0, 1]})
    named = rows.cast_column("label", ClassLabel(names=["good", "bad"]))
    with pytest.raises(ValueError, match=r"task 'mood': the column 'label' names its ids \['good', 'bad'\], and the"):
        Task("mood", "sequence_classification", ("text",), ("bad", "good"), train=rows, validation=named)
    Task("mood", "sequence_classification", ("text",), ("yes", "no"), train=named)  # other words for them


# ---- Models that know no tasks


class Swallows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2).double()

    def forward(self, x=None, labels=None, **kwargs):
        pytest.fail("training started")


class OfPosition(Swallows):
    def forward(self, task, /, x=None, labels=None, **kwargs):
        pytest.fail("training started")


class Names(Swallows):
    def forward(self, *, task, x=None, labels=None):
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertForSequenceClassification(CONFIG),
        lambda: torch.compile(BertForSequenceClassification(CONFIG), backend="eager"),
        lambda: add_lora_to(BertForSequenceClassification(CONFIG)),
        Swallows,
        OfPosition,
    ],
    ids=["bert", "compiled", "adapted", "own", "positional"],
)
def test_a_model_that_knows_no_tasks(make, tmp_path):
    train, meta = toy_data()
    with pytest.raises(ValueError, match=r"forward has no parameter `task`.*MultitaskModel.from_encoder"):
        MultitaskTrainer(model=make(), args=toy_args(tmp_path), train_dataset=train, eval_dataset={TARGET: meta})


def add_lora_to(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(target_modules=["query"]))


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: torch.compile(model, backend="eager")])
def test_modules_that_name_the_task_train(wrap, tmp_path):
    train, meta = toy_data(order=("a", "c"))
    args = toy_args(tmp_path, num_train_epochs=1)
    MultitaskTrainer(model=wrap(Names()), args=args, train_dataset=train, eval_dataset={TARGET: meta}).train()


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (nn.DataParallel, r"wrapped in DataParallel: pass the model inside it"),
        (lambda model: torch.compile(model, backend="eager"), "the model is the result of torch.compile"),
        (lambda model: compile_encoder(model), "the module encoder of the model is the result of torch.compile"),
        (lambda model: torch.compile(add_lora(model, LoraArguments()), backend="eager"), "the model is the result of"),
    ],
    ids=["data parallel", "compiled", "compiled encoder", "compiled with adapters"],
)
def test_wrappers_that_trainer_adds_itself(wrap, message, tmp_path):
    model = MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={"pair": TASKS["pair"]}))
    with pytest.raises(ValueError, match=message):
        trainer_of(wrap(model), tmp_path, TASKS["pair"])


def compile_encoder(model):
    model.encoder = torch.compile(model.encoder, backend="eager")
    return model


def test_own_modules_in_a_wrapper(tmp_path):
    train, meta = toy_data()
    with pytest.raises(ValueError, match="pass the model inside it"):
        MultitaskTrainer(
            nn.DataParallel(toy_model()), toy_args(tmp_path), train_dataset=train, eval_dataset={TARGET: meta}
        )
