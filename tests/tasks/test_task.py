"""`Task`: its head, its defaults, its checks, and selections of its rows."""

import pickle
from pathlib import Path

import pytest
from datasets import Dataset

from hf_alphavil.tasks import DataError, Task
from support.official_miniatures import make_tokenizer

ROWS = Dataset.from_dict({"text": [f"row {n}" for n in range(20)], "label": [n % 2 for n in range(20)]})


def mood(**settings):
    return Task("mood", "sequence_classification", ("text",), ("bad", "good"), **settings)


def test_heads():
    assert mood().head == {
        "kind": "sequence_classification",
        "labels": ["bad", "good"],
        "problem_type": "single_label_classification",
    }
    assert Task("s", "regression", ("a", "b")).head == {
        "kind": "regression",
        "labels": None,
        "problem_type": "regression",
    }
    choice = Task("c", "multiple_choice", context_template="{premise}", choice_columns=("choice1", "choice2"))
    assert choice.head == {"kind": "multiple_choice", "labels": ["choice1", "choice2"], "problem_type": None}


def test_defaults():
    assert (mood().metrics, mood().main_metric) == (("accuracy",), "accuracy")
    assert Task("s", "regression", ("a",)).main_metric == "combined_score"
    assert mood(metrics=["accuracy", "f1"]).main_metric == "combined_score"
    assert mood(metrics=["accuracy", "f1"], main_metric="f1").main_metric == "f1"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "generation"}, "unknown kind 'generation'; pass one of sequence_classification"),
        ({"text_columns": ()}, "pass one or two text_columns"),
        ({"text_columns": ("a", "b", "c")}, "pass one or two text_columns"),
        ({"labels": None}, "pass two or more distinct labels"),
        ({"labels": ("a", "a")}, "pass two or more distinct labels"),
        ({"kind": "regression"}, "of the kind .regression. has no labels"),
        ({"kind": "multiple_choice"}, "reads context_template, not text_columns"),
        ({"metrics": ("f1_makro",)}, "Did you mean 'f1_macro'"),
        ({"metrics": ("bleu",)}, "unknown metric 'bleu'; known are accuracy"),
        ({"metrics": ("pearson",)}, "'pearson' does not fit the kind"),
        ({"main_metric": "f1"}, "main_metric 'f1' is none of accuracy"),
        ({"train": ROWS, "text_columns": ("sentence",)}, "the train split has no column 'sentence'.*text, label"),
        ({"train": ROWS.remove_columns("label")}, "the train split has no column 'label'"),
        ({"train": ROWS, "group_column": "passage"}, "the train split has no column 'passage'"),
        ({"validation": ROWS.rename_column("text", "t")}, "the validation split has no column 'text'"),
    ],
)
def test_settings_that_do_not_fit(settings, reason):
    defaults = {"name": "x", "kind": "sequence_classification", "text_columns": ("text",), "labels": ("a", "b")}
    with pytest.raises(ValueError, match=reason):
        Task(**{**defaults, **settings})


def test_missing_split():
    with pytest.raises(ValueError, match="has no split 'test'; it has train"):
        mood(train=ROWS).split("test")
    with pytest.raises(ValueError, match="has no split 'dev'; it has none"):
        mood().split("dev")


def test_select():
    task = mood(train=ROWS, validation=ROWS, test=ROWS)
    small = task.select(max_train_samples=5, max_eval_samples=3, seed=1, max_predict_samples=2)
    assert (len(small.train), len(task.train)) == (5, 20)
    assert small.validation["text"][:] == ["row 0", "row 1", "row 2"]
    assert small.test["text"][:] == ["row 0", "row 1"]
    assert task.select(5, 3).test is task.test
    assert (
        small.train["text"][:] == task.select(5, seed=1).train["text"][:] == task.select(9, seed=1).train["text"][:5]
    )
    assert small.train["text"][:] != task.select(5, seed=2).train["text"][:]
    assert len(set(task.select(12).train["text"])) == 12
    everything = task.select(max_train_samples=100, max_eval_samples=100)
    assert everything.train["text"][:] == ROWS["text"][:]
    assert task.select().validation is task.validation
    assert mood().select(1, 1).train is None
    for numbers in ((0, None), (None, -1)):
        with pytest.raises(ValueError, match="pass 1 or more, or None for all rows"):
            task.select(*numbers)
    with pytest.raises(ValueError, match="max_predict_samples=0: pass 1 or more"):
        task.select(max_predict_samples=0)


def test_labels_may_be_numbers():
    assert Task("mood", "sequence_classification", ("text",), labels=(0, 1), train=ROWS).labels == ("0", "1")


def test_choices_that_are_not_lists_are_refused():
    settings = {"context_template": "{text}", "choices_column": "text", "labels": ("a", "b")}
    with pytest.raises(DataError, match=r"holds .* which is not a list of strings"):
        Task("t", "multiple_choice", **settings, train=ROWS).tokenize("train", make_tokenizer())
    with pytest.raises(DataError, match="the train split has no column 'c'"):
        Task("t", "multiple_choice", **settings | {"choices_column": "c"}, train=ROWS)


def test_an_error_names_the_path_of_a_file_without_detours(tmp_path):
    (tmp_path / "below").mkdir()
    assert str(DataError("is odd.", tmp_path / "below" / ".." / "f.tsv")) == f"{tmp_path.resolve() / 'f.tsv'}: is odd."
    assert str(DataError("is odd.", Path("data/f.tsv"))) == "data/f.tsv: is odd."


def test_data_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DataError("is odd.", "f.tsv", 3, "Mend it.")))
    assert str(error) == "f.tsv, line 3: is odd. Mend it."
    assert isinstance(error, ValueError)
