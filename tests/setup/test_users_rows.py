"""Rows and labels of a user's own datasets: the right result, or one error that names task and row."""

import random

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset
from transformers import BertConfig, DataCollatorWithPadding

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer
from support.kinds_run import word_tokenizer
from support.toy_run import TARGET, toy_args, toy_data, toy_model

HEADS = {
    "pair": {"kind": "sequence_classification", "labels": ["a", "b"]},
    "tags": {
        "kind": "sequence_classification",
        "labels": ["x", "y", "z"],
        "problem_type": "multi_label_classification",
    },
    "score": {"kind": "regression", "labels": None},
    "quiz": {"kind": "multiple_choice", "labels": None},
    "names": {"kind": "token_classification", "labels": ["O", "B", "I"]},
    "prose": {"kind": "masked_lm", "labels": None},
}
CONFIG = BertConfig(
    vocab_size=25, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=12, initializer_range=0.5,
)  # fmt: skip
COUNT = 24
BAD = 20


def good_row(kind, number):
    ids = [2, 5 + number % 20, 5 + number * 3 % 20, 3]
    labels = {
        "pair": number % 2,
        "tags": [float(number % 2), 1.0, float(number % 3 == 0)],
        "score": float(number % 5),
        "quiz": number % 2,
        "names": [-100, number % 3, 0, -100],
    }
    row = {"input_ids": [ids, ids[::-1]] if kind == "quiz" else ids}
    return row | ({"labels": labels[kind]} if kind in labels else {})


def good(kind):
    return [good_row(kind, number) for number in range(COUNT)]


def with_one(kind, **values):
    """Good rows, and one with other values. `...` leaves a value out."""
    rows = good(kind)
    rows[BAD] = {name: value for name, value in (rows[BAD] | values).items() if value is not ...}
    return rows


def trainer(folder, kind, train, collator=None, tokenizer=True, model=None, **settings):
    torch.manual_seed(0)
    model = model or MultitaskModel(MultitaskConfig(encoder=CONFIG, tasks={kind: HEADS[kind]}))
    arguments = {name: settings.pop(name) for name in ("compute_loss_func", "trainer_class") if name in settings}
    args = toy_args(folder, target_task=kind, alpha_data="train", num_train_epochs=1, **settings)
    return arguments.pop("trainer_class", MultitaskTrainer)(
        model=model,
        args=args,
        train_dataset={kind: train},
        processing_class=word_tokenizer() if tokenizer else None,
        data_collator=collator,
        **arguments,
    )


@pytest.fixture
def well(tmp_path):
    """Returns a function from a kind to a trainer on good rows."""
    return lambda kind: trainer(tmp_path / "well", kind, good(kind))


NOT_AN_ID = r"has the label {}: {} is not an id from 0 to {}\. Pass such ids, -100 where"
# The kind, what differs in row 20, and what the error says.
BAD_ROWS = {
    # Labels
    "an id beyond the head": ("pair", {"labels": 2}, NOT_AN_ID.format(2, 2, 1)),
    "a negative id": ("pair", {"labels": -1}, NOT_AN_ID.format(-1, -1, 1)),
    "an id beyond 32 bits": ("pair", {"labels": 2**40}, "is not an id from 0 to 1"),
    "an id beyond 64 bits": ("pair", {"labels": 2**70}, "pass ids, which are integers from 0 to 1"),
    "a float as id": ("pair", {"labels": 1.0}, r"has the label 1\.0: pass ids, which are integers from 0 to 1"),
    "a float tensor as id": ("pair", {"labels": torch.tensor(1.0)}, r"has the label 1\.0: pass ids"),
    "a name as id": ("pair", {"labels": "b"}, "has the label 'b': pass ids"),
    "no value as id": ("pair", {"labels": None}, "has the label None: pass ids"),
    "two ids": ("pair", {"labels": [0, 1]}, r"has the label \[0, 1\]: pass one id from 0 to 1"),
    "one hot": ("pair", {"labels": [0.0, 1.0]}, "pass ids"),
    "a row without its label": ("pair", {"labels": ...}, "lacks labels"),
    "text as score": ("score", {"labels": "0.5"}, "has the label '0.5': pass a number"),
    "a truth value as score": ("score", {"labels": True}, "has the label True: pass a number"),
    "no score": ("score", {"labels": None}, "has the label None: pass a number"),
    "two scores": ("score", {"labels": [0.5, 1.0]}, "pass one number for each row"),
    "NaN": ("score", {"labels": float("nan")}, "has the label nan: pass a finite number"),
    "infinity": ("score", {"labels": float("inf")}, "pass a finite number"),
    "beyond float32": ("score", {"labels": 1e300}, "pass a finite number"),
    "ids instead of flags": ("tags", {"labels": [0, 1, 2]}, r"has the label \[0.*: pass a list of 3 flags, 0 or 1"),
    "fewer ids than flags": ("tags", {"labels": [2]}, "pass a list of 3 flags"),
    "one id instead of flags": ("tags", {"labels": 1}, "pass a list of 3 flags"),
    "flags that are ignored": ("tags", {"labels": [1.0, -100.0, 0.0]}, "pass a list of 3 flags"),
    "NaN among flags": ("tags", {"labels": [1.0, float("nan"), 0.0]}, "pass a list of 3 flags"),
    "a choice that is not there": ("quiz", {"labels": 2}, "2 is not an id from 0 to 1"),
    "a negative choice": ("quiz", {"labels": -1}, "-1 is not an id from 0 to 1"),
    "a float as choice": ("quiz", {"labels": 0.7}, "pass ids"),
    "a choice that this row lacks": ("quiz", {"input_ids": [[2, 6, 3]], "labels": 1}, "1 is not an id from 0 to 0"),
    "a tag beyond the head": ("names", {"labels": [-100, 3, 0, -100]}, "3 is not an id from 0 to 2"),
    "a negative tag": ("names", {"labels": [-100, -1, 0, -100]}, "-1 is not an id from 0 to 2"),
    "tags of words, not tokens": ("names", {"labels": [0, 1]}, r"has the label \[0, 1\]: pass a list of 4 ids, one"),
    "more tags than tokens": ("names", {"labels": [0] * 6}, "pass a list of 4 ids, one for each token"),
    "one tag": ("names", {"labels": 1}, "pass a list of 4 ids, one for each token"),
    "names of tags": ("names", {"labels": ["O"] * 4}, "pass ids, which are integers from 0 to 2"),
    "float tags": ("names", {"labels": [0.0, 1.7, 0.0, 0.0]}, "pass ids, which are integers from 0 to 2"),
    "no tags": ("names", {"labels": None}, "pass a list of 4 ids"),
    # Inputs
    "too long": ("pair", {"input_ids": [2] * 13}, "has 13 tokens, and the encoder has 12 positions: .*max_length=12"),
    "a long choice": ("quiz", {"input_ids": [[2] * 13, [2]]}, "has 13 tokens, and the encoder has 12 positions"),
    "long prose": ("prose", {"input_ids": [2] * 13}, "has 13 tokens, and the encoder has 12 positions"),
    "a token beyond the embeddings": ("pair", {"input_ids": [2, 25, 3]}, "has the token id 25, and the encoder has"),
    "a token of a choice": ("quiz", {"input_ids": [[2, 6], [2, 25]]}, "has the token id 25, and the encoder has"),
    "an ignored token": ("prose", {"input_ids": [2, -100, 3]}, "has the token id -100: token ids start at 0"),
    "no token": ("pair", {"input_ids": []}, "has no tokens: leave it out"),
    "no choice": ("quiz", {"input_ids": []}, r"has the inputs \[\], which are not a list of token ids for each"),
    "one text instead of choices": ("quiz", {"input_ids": [2, 6, 3]}, "not a list of token ids for each choice"),
    "text": ("pair", {"input_ids": "w1 w2"}, "has the inputs 'w1 w2', which are not a list of token ids"),
    "no ids": ("pair", {"input_ids": None}, "has the inputs None, which are not a list of token ids"),
    "float tokens": ("pair", {"input_ids": [2.0, 6.0, 3.0]}, "which are not a list of integers"),
    "a batch as row": ("pair", {"input_ids": [[2, 6, 3]]}, "which are not a list of integers"),
    "without ids": ("pair", {"input_ids": ...}, "has no input_ids, only labels: pass tokenised rows"),
    "prose without ids": ("prose", {"input_ids": ...}, "has no input_ids, nor any other input of the model"),
    "another column": ("pair", {"token_type_ids": [0] * 4}, "has token_type_ids, unlike others: give all rows"),
    "a short mask": ("names", {"attention_mask": [1]}, r"attention_mask of the shape \(1,\) and input_ids of the"),
    "a type that is not there": ("pair", {"token_type_ids": [0, 2, 0, 0]}, "token_type_ids from 0 to 2, and the enc"),
}  # fmt: skip
#: Rows that a `datasets.Dataset` cannot hold beside good ones, or holds as other values.
NOT_IN_ARROW = {
    "an id beyond 64 bits", "a float as id", "a float tensor as id", "a name as id", "two ids", "one hot",
    "text as score", "a truth value as score", "two scores", "one id instead of flags", "a float as choice",
    "one tag", "names of tags", "one text instead of choices", "text", "a batch as row", "another column",
    "a type that is not there", "a short mask", "float tags", "float tokens",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_that_does_not_fit(case, well, tmp_path):
    """It is told when it is evaluated, predicted or to be trained; in a table it is found among all rows."""
    kind, values, said = BAD_ROWS[case]
    rows, other = with_one(kind, **values), well(kind)
    for call in (other.evaluate, other.predict):
        with pytest.raises(ValueError, match=rf"^row {BAD} of task '{kind}' .*{said}"):
            call(rows)
    if case not in NOT_IN_ARROW:
        said = said if ... not in values.values() else "has the (label|inputs) None"  # what a table has instead
        table = datasets.Dataset.from_list(rows)
        for given in (table, Subset(table, range(3, COUNT))):
            with pytest.raises(ValueError, match=rf"^row {BAD} of task '{kind}' .*{said}"):
                other.evaluate(given)
        other.get_eval_dataloader(Subset(table, range(BAD)))
    with pytest.raises(ValueError, match=rf"row {BAD} of task '{kind}' .*{BAD_ROWS[case][2]}"):
        trainer(tmp_path, kind, rows)


# Labels in another form that are right.
FORMS = {
    "pair": (bool, lambda label: [label]),
    "quiz": (bool,),
    "score": (int, lambda label: [label]),
    "tags": (lambda label: [int(flag) for flag in label], lambda label: [bool(flag) for flag in label]),
    "names": (lambda label: [np.int16(one) for one in label],),
}
TYPES = {
    **dict.fromkeys(("pair", "quiz"), ("int8", "uint8", "int16", "int32", "int64", "bool")),
    "names": ("int8", "int16", "int32", "int64"),
    "score": ("int8", "int32", "int64", "float16", "float32", "float64"),
    "tags": ("uint8", "int64", "bool", "float16", "float64"),
}


@pytest.mark.parametrize("kind", FORMS)
def test_labels_of_another_type_give_the_same_loss(kind, well):
    same, rows = well(kind), good(kind)[:8]
    expected = same.evaluate(rows)[f"eval_{kind}_loss"]
    forms = [
        *FORMS[kind],
        *(lambda label, t=t: torch.tensor(label, dtype=getattr(torch, t)) for t in TYPES[kind]),
        *(lambda label, t=t: np.array(label, dtype=t)[()] for t in TYPES[kind]),
    ]
    for number, convert in enumerate(forms):
        for name in ("label", "labels"):
            given = [{"input_ids": row["input_ids"], name: convert(row["labels"])} for row in rows]
            assert same.evaluate(given)[f"eval_{kind}_loss"] == expected, (number, name)


@pytest.mark.parametrize("kind", ["pair", "quiz", "names"])
def test_labels_that_the_loss_ignores_stay(kind, well):
    same = well(kind)
    ignored = [-100] * 4 if kind == "names" else -100
    batches = [[*good(kind)[:7], good_row(kind, 7) | {"labels": ignored}], good(kind)[:7]]
    first, second = (same.evaluate(rows)[f"eval_{kind}_loss"] for rows in batches)
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_rows_without_labels_are_predicted_and_not_trained(kind, well, tmp_path):
    rows = [{"input_ids": row["input_ids"]} for row in good(kind)]
    assert len(well(kind).predict(rows).predictions) == COUNT
    if kind != "prose":
        with pytest.raises(
            ValueError, match=f"the training rows of task '{kind}' have no labels, only input_ids: give"
        ):
            trainer(tmp_path, kind, rows)
        return
    with pytest.raises(ValueError, match=r"labels of task 'prose' are made from its tokens.*`processing_class`"):
        trainer(tmp_path, kind, rows, tokenizer=False)


def test_labels_that_are_all_ignored_are_not_trained(tmp_path):
    with pytest.raises(ValueError, match="all 24 training rows of task 'pair' have the label -100, which the loss ig"):
        trainer(tmp_path, "pair", [row | {"labels": -100} for row in good("pair")])


# ---- Datasets


class Own(Dataset):
    """Rows that are made one by one; it draws numbers and counts, and has one faulty row."""

    def __init__(self, length=COUNT, faulty=None, error=None, says=None):
        self.length, self.faulty, self.error, self.says, self.reads = length, faulty, error, says or length, 0

    def __len__(self):
        return self.says

    def __getitem__(self, number):
        self.reads += 1
        random.random(), np.random.rand(), torch.rand(1)
        if number >= self.length:
            raise IndexError(number)
        if number == self.faulty:
            if self.error is not None:
                raise self.error
            return good_row("pair", number) | {"labels": 7}
        return good_row("pair", number)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(good("pair"))


class SizedStream(Stream):
    def __len__(self):
        return COUNT


class NoLength(Dataset):
    def __getitem__(self, number):
        return good_row("pair", number)


TABLE = datasets.Dataset.from_list(good("pair"))
COLUMNS = {name: TABLE[name][:] for name in TABLE.column_names}
NOT_ROWS = {
    "tuples": (lambda: TensorDataset(torch.ones(4, 4).long(), torch.zeros(4).long()), "row 0 .* is a tuple: make it"),
    "texts": (lambda: ["w1 w2"] * 4, "row 0 of task 'pair' is a str: make it a dictionary"),
    "nothing": (lambda: [good_row("pair", 0), None], "row 1 of task 'pair' is a NoneType: make it a dictionary"),
    "columns": (lambda: COLUMNS, "is a dict, which has columns or splits instead of rows"),
    "encoded": (
        lambda: word_tokenizer()(["w1"] * 4),
        "is a BatchEncoding, which has columns or splits instead of rows",
    ),
    "splits": (
        lambda: datasets.DatasetDict(dev=TABLE),
        "DatasetDict, which has columns or splits|has the splits 'dev'",
    ),
    "frame": (lambda: TABLE.to_pandas(), "is a DataFrame, not a dataset of rows: .*from_pandas"),
    "stream": (Stream, "is a Stream"),
    "stream with a length": (SizedStream, "is a SizedStream"),
    "stream of the hub": (TABLE.to_iterable_dataset, "is a IterableDataset"),
    "generator": (lambda: (row for row in good("pair")), "is a generator"),
    "without a length": (NoLength, "is a NoLength"),
    "broken": (lambda: Own(faulty=3, error=KeyError("text")), "row 3 of task 'pair' cannot be read: KeyError: 'text'"),
    "shorter than it says": (lambda: Own(says=30), "row 24 of task 'pair' cannot be read: IndexError: 24"),
}


@pytest.mark.parametrize("case", NOT_ROWS)
def test_a_dataset_without_rows(case, well, tmp_path):
    make, said = NOT_ROWS[case]
    with pytest.raises((TypeError, ValueError), match=said):
        well("pair").predict(make())
    with pytest.raises((TypeError, ValueError), match=said):
        trainer(tmp_path, "pair", make())


def test_no_name_of_a_dataset_to_train(tmp_path):
    with pytest.raises(
        TypeError, match=r"the dataset of task 'pair' is a str, not a dataset of rows: `datasets\.load"
    ):
        trainer(tmp_path, "pair", "imdb")


def test_rows_made_one_by_one_are_read_up_to_a_number_and_leave_no_trace(well):
    run, rows = well("pair"), Own(length=10**6)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    run.get_test_dataloader(rows)
    assert 5_000 <= rows.reads <= 10_000
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states


def test_a_row_that_was_not_read_before_is_told_when_its_batch_is_made(well):
    rows = Own(length=10_001, faulty=1)  # every other row is read
    with pytest.raises(ValueError, match=r"^a row of task 'pair' has the label 7: 7 is not an id from 0 to 1"):
        well("pair").evaluate(rows)


# ---- The user's own collators, losses and models


class Texts:
    """A collator of the user's own, which tokenises."""

    def __init__(self, label=lambda label: label):
        self.label, self.tokenizer = label, word_tokenizer()

    def __call__(self, rows):
        batch = self.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([self.label(row["labels"]) for row in rows])}


def texts():
    return [{"text": "w1 w2", "labels": "ab"[number % 2]} for number in range(COUNT)]


def test_a_collator_that_makes_inputs_and_labels(tmp_path):
    run = trainer(tmp_path, "pair", texts(), Texts("ab".index), remove_unused_columns=False)
    run.train()
    assert np.isfinite(run.evaluate(texts())["eval_pair_loss"])


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda label: 5, r"a row of task 'pair' has the label \[5.*: 5 is not an id from 0 to 1"),
        (lambda label: 1.0, "has the label .*: pass ids, which are integers"),
        (lambda label: [0, 1], "has the label .*: pass one id"),
    ],
)
def test_batches_of_a_collator_are_checked(label, said, tmp_path):
    run = trainer(tmp_path, "pair", texts(), Texts(label), remove_unused_columns=False)
    with pytest.raises(ValueError, match=said):
        run.train()


def test_transformers_collators_only_pad(tmp_path):
    collator = DataCollatorWithPadding(word_tokenizer(), pad_to_multiple_of=8)
    with pytest.raises(ValueError, match="row 20 of task 'pair' has 13 tokens"):
        trainer(tmp_path, "pair", with_one("pair", input_ids=[2] * 13), collator)


def test_rows_of_several_lengths_need_a_tokenizer(tmp_path):
    run = trainer(tmp_path, "pair", with_one("pair", input_ids=[2, 3]), tokenizer=False)
    with pytest.raises(ValueError, match=r"rows of task 'pair' cannot be put into one batch: .*`processing_class`"):
        run.train()


def soft_loss(outputs, labels, num_items_in_batch=None):
    return nn.functional.cross_entropy(outputs["logits"], labels)


class SoftTrainer(MultitaskTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = soft_loss(outputs, labels)
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("own", [{"compute_loss_func": soft_loss}, {"trainer_class": SoftTrainer}])
def test_a_loss_of_the_user_s_own_takes_labels_of_its_own(own, tmp_path):
    rows = [row | {"labels": [0.25, 0.75]} for row in good("pair")]
    trainer(tmp_path, "pair", rows, method="single", **own).train()


def test_an_error_in_a_step_is_noted_with_its_task(tmp_path):
    data, meta = toy_data()
    data["b"] = [{"x": row["x"], "labels": torch.tensor(9 if n > 8 else 0)} for n, row in enumerate(data["b"])]
    args = toy_args(tmp_path, alpha_data="train")
    run = MultitaskTrainer(model=toy_model(), args=args, train_dataset=data, eval_dataset={TARGET: meta})
    with pytest.raises(IndexError, match="out of bounds") as caught:
        run.train()
    assert any("in a training step of task 'b' (global step" in note for note in caught.value.__notes__)
    with pytest.raises(IndexError, match="out of bounds") as caught:
        run.evaluate({"b": data["b"]})
    assert "while task 'b' was evaluated" in caught.value.__notes__
