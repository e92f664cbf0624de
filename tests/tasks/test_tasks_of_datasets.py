"""`Task.from_dataset` and heads of datasets: what the columns say, and what they leave open."""

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_alphavil import MultitaskConfig, Task
from hf_alphavil.tasks import DataError

TWO = ClassLabel(names=["bad", "good"])
TEXT, WORDS = Value("string"), List(Value("string"))
TEXTS, LISTS = ["a b", "c d", "e f"], [["a", "b"], ["c", "d"], ["e", "f"]]


def rows(**columns):
    """A dataset from columns of `(feature, values)`."""
    features = Features({name: feature for name, (feature, _) in columns.items()})
    return Dataset.from_dict({name: values for name, (_, values) in columns.items()}, features=features)


def single(feature, values, column="label"):
    return rows(text=(TEXT, TEXTS), **{column: (feature, values)})


READ = {
    "class labels": (single(TWO, [0, 1, 1]), "sequence_classification", ("bad", "good"), [0, 1, 1]),
    "names": (single(TEXT, ["no", "yes", "no"]), "sequence_classification", ("no", "yes"), [0, 1, 0]),
    "ids": (single(Value("int64"), [0, 2, 1]), "sequence_classification", ("0", "1", "2"), [0, 2, 1]),
    "numbers from 1": (single(Value("int64"), [1, 3, 2]), "sequence_classification", ("1", "2", "3"), [0, 2, 1]),
    "truth values": (
        single(Value("bool"), [True, False, True]), "sequence_classification", ("False", "True"), [1, 0, 1]
    ),
    "scores": (single(Value("float32"), [0.5, 1, 2]), "regression", None, [0.5, 1, 2]),
    "tags": (
        rows(id=(TEXT, TEXTS), tokens=(WORDS, LISTS), ner_tags=(List(TWO), [[0, 1]] * 3)),
        "token_classification", ("bad", "good"), [[0, 1]] * 3,
    ),
    "names of tags": (
        rows(tokens=(WORDS, LISTS), labels=(WORDS, [["O", "B"]] * 3)),
        "token_classification", ("B", "O"), [[1, 0]] * 3,
    ),
    "sets": (single(List(TWO), [[0], [], [0, 1]]), "multi_label", ("bad", "good"), [[0], [], [0, 1]]),
    "sets of names": (single(WORDS, [["x"], ["y"], ["y", "x"]]), "multi_label", ("x", "y"), [[0], [1], [1, 0]]),
    "a pair": (
        rows(
            idx=(Value("int32"), [0, 1, 2]), sentence1=(TEXT, TEXTS), sentence2=(TEXT, TEXTS), labels=(TWO, [0, 1, 0])
        ),
        "sequence_classification", ("bad", "good"), [0, 1, 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_columns_say_what_the_task_is(case):
    dataset, kind, labels, ids = READ[case]
    task = Task.from_dataset("mood", dataset)
    is_multi_label = task.problem_type == "multi_label_classification"
    assert ("multi_label" if is_multi_label else task.kind) == kind
    assert task.labels == labels
    assert task.train[task.label_column][:] == ids
    assert task.text_columns == {"a pair": ("sentence1", "sentence2")}.get(
        case, ("tokens",) if "tags" in case else ("text",)
    )
    assert MultitaskConfig(tasks={"mood": dataset}).tasks["mood"] == task.head


OPEN = {
    "two texts": (
        rows(title=(TEXT, TEXTS), body=(TEXT, TEXTS), label=(TWO, [0, 1, 0])),
        r"'title', 'body' may be the texts, among the columns title \(string\), body .*text_columns=",
        {"text_columns": ("title", "body")},
    ),
    "no labels": (
        rows(text=(TEXT, TEXTS)), r"none of the columns may be the labels.*text \(string\)", {"kind": "masked_lm"}
    ),
    "two columns of labels": (
        rows(text=(TEXT, TEXTS), pos=(TWO, [0, 1, 0]), ner=(TWO, [0, 1, 1])), "'pos', 'ner' may be the labels",
        {"label_column": "ner"},
    ),
    "label and labels": (
        rows(text=(TEXT, TEXTS), label=(TWO, [0, 1, 0]), labels=(TWO, [0, 1, 1])), "both 'label' and 'labels'",
        {"label_column": "labels"},
    ),
    "choices": (
        rows(text=(TEXT, TEXTS), choices=(WORDS, LISTS), label=(Value("int64"), [0, 1, 0])),
        "'choices' may be the choices",
        {"kind": "multiple_choice", "context_template": "{text}", "choices_column": "choices"},
    ),
    "flags": (
        single(List(Value("float32")), [[1, 0], [0, 1], [1, 1]]), "holds a flag for each label: pass their names",
        {"labels": ("x", "y")},
    ),
    "flags or ids": (
        single(List(Value("int64")), [[1, 0, 1], [0, 1, 0], [1, 1, 1]]), "a flag, 1 or 0, for each label",
        {"labels": ("x", "y", "z")},
    ),
    "some labels are missing": (
        single(Value("int64"), [0, -1, 1]), "holds -1, which means that a label is missing", None
    ),
    "other splits": (
        DatasetDict(dev=single(TWO, [0, 1, 0])), "has the splits 'dev': name the training rows 'train'", None
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPEN)
def test_what_columns_leave_open_is_refused_with_what_to_pass(case):
    dataset, message, given = OPEN[case]
    with pytest.raises(ValueError, match=message):
        Task.from_dataset("mood", dataset)
    with pytest.raises(ValueError, match="task 'mood'"):
        MultitaskConfig(tasks={"mood": dataset})
    if given is not None:
        assert Task.from_dataset("mood", dataset, **given).train is not None


def test_flags_become_ids():
    for feature, flags in ((Value("float32"), [[1, 0, 1], [0, 0, 0]]), (Value("int64"), [[1, 0, 1], [0, 1, 0]])):
        dataset = rows(text=(TEXT, TEXTS[:2]), label=(List(feature), flags))
        task = Task.from_dataset("mood", dataset, labels=("x", "y", "z"))
        assert task.train["label"][0] == [0, 2]


def test_splits_share_their_labels():
    dataset = DatasetDict(
        train=single(TEXT, ["no", "yes", "no"]), validation=single(TEXT, ["yes", "yes", "yes"]),
        test=single(TEXT, [None] * 3),
    )  # fmt: skip
    task = Task.from_dataset("mood", dataset)
    assert task.validation["label"][:] == [1, 1, 1]
    assert task.test.column_names == ["text"]
    with pytest.raises(ValueError, match="train holds train, validation, test: pass one split"):
        Task("mood", "sequence_classification", "text", train=dataset)
    with pytest.raises(DataError, match="task 'mood', validation row 1: the label 'maybe' is none of 'no', 'yes'"):
        Task.from_dataset("mood", DatasetDict(dataset | {"validation": single(TEXT, ["yes", "maybe", "no"])}))


def test_a_task_reads_labels_and_texts_as_its_yaml_does():
    named = single(TEXT, ["no", "yes", "no"])
    task = Task("mood", "sequence_classification", "text", ("yes", "no"), train=named)
    assert (task.text_columns, task.train["label"][:]) == (("text",), [1, 0, 1])
    assert Task("mood", "sequence_classification", "text", train=single(TWO, [0, 1, 1])).labels == ("bad", "good")


def test_heads_of_tokenised_rows():
    def head(**columns):
        return MultitaskConfig(tasks={"mood": rows(**columns)}).tasks["mood"]

    ids = (List(Value("int64")), [[1, 2], [3, 4]])
    assert head(input_ids=ids, labels=(Value("int64"), [0, 1]))["labels"] == ["0", "1"]
    assert head(input_ids=ids, label=(TWO, [0, 1]))["labels"] == ["bad", "good"]
    assert head(input_ids=ids, label=(Value("float64"), [0, 1]))["kind"] == "regression"
    tags = head(input_ids=ids, labels=(List(Value("int64")), [[-100, 1], [0, 2]]))
    assert (tags["kind"], tags["labels"]) == ("token_classification", ["0", "1", "2"])
    for label in ((List(Value("float32")), [[0, 1, 1], [1, 0, 0]]), (Value("int64"), [1, 2])):
        with pytest.raises(ValueError, match=r"pass (a Task|ids), or the head's"):
            head(input_ids=ids, labels=label)
    with pytest.raises(ValueError, match="have no labels, only input_ids"):
        head(input_ids=ids)


def test_heads_of_a_list_of_tasks():
    tasks = [Task.from_dataset(name, single(TWO, [0, 1, 1])) for name in ("b", "a")]
    assert list(MultitaskConfig(tasks=tasks).tasks) == ["b", "a"]
    with pytest.raises(TypeError, match="a list of Task, not of str"):
        MultitaskConfig(tasks=["rte"])
