"""Label ids are those of the source, not those of an earlier run or those that a label's name looks like."""

from dataclasses import replace

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import List as ListFeature

from hf_alphavil import Task
from hf_alphavil.tasks import DataError, load_tasks

TASK = """
task:
  kind: KIND
  text_columns: [text]
  SETTINGS
  files: {splits: {train: train.jsonl, validation: dev.jsonl}}
"""
HUB = """
task:
  kind: KIND
  text_columns: [text]
  SETTINGS
  hub: {path: owner/rows}
"""


def filled(text, kind="sequence_classification", settings=""):
    return text.replace("KIND", kind).replace("SETTINGS", settings)


def rows(**labels):
    return [{"text": text, "label": label} for text, label in labels.items()]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def hub(monkeypatch):
    def put(**splits):
        loaded = DatasetDict(splits)
        monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: loaded)

    return put


def named(labels, names, label_type=lambda feature: feature):
    features = Features({"text": Value("string"), "label": label_type(ClassLabel(names=names))})
    return Dataset.from_dict({"text": [f"a {n}" for n in range(len(labels))], "label": labels}, features=features)


def test_the_cache_of_a_split_follows_the_labels_of_the_training_file(define, tokenizer, cache):
    """In the training file `bad` replaces `other`; the validation file does not change."""
    dev = rows(a="good", b="mild")
    for names in (("good", "mild", "other"), ("bad", "good", "mild")):
        path = define(filled(TASK), train__jsonl=rows(**{f"t{name}": name for name in names}), dev__jsonl=dev)
        task = load_tasks(str(path))["task"]
        assert task.labels == names
        ids = [names.index("good"), names.index("mild")]
        assert task.validation["label"][:] == ids
        assert task.tokenize("validation", tokenizer)["labels"][:] == ids


def test_the_cache_of_a_hub_split_does_too(define, hub, tokenizer, cache):
    dev = Dataset.from_list(rows(a="good", b="mild"))
    for names in (("good", "mild", "other"), ("bad", "good", "mild")):
        hub(train=Dataset.from_list(rows(**{f"t{name}": name for name in names})), validation=dev)
        task = load_tasks(str(define(filled(HUB))))["task"]
        assert task.tokenize("validation", tokenizer)["labels"][:] == [names.index("good"), names.index("mild")]


@pytest.mark.parametrize("names", [("1", "0"), ("1", "2", "3"), ("-1", "0", "1")])
@pytest.mark.parametrize("says", [False, True])
def test_named_ids_that_look_like_other_numbers(define, hub, names, says):
    ids = list(range(len(names)))[::-1]
    hub(train=named(ids, names))
    settings = f"labels: [{', '.join(names)}]" if says else ""
    task = load_tasks(str(define(filled(HUB, settings=settings))))["task"]
    assert task.labels == names
    assert task.train["label"][:] == ids


def test_named_ids_in_lists(define, hub):
    hub(train=named([[1, 0], [2]], ("2", "1", "0"), ListFeature))
    settings = "problem_type: multi_label_classification"
    task = load_tasks(str(define(filled(HUB, settings=settings))))["task"]
    assert task.labels == ("2", "1", "0")
    assert task.train["label"][:] == [[1, 0], [2]]


def test_named_ids_of_choices(define, hub):
    rows = named([2, 1], ("1", "2", "3"))
    hub(train=rows.add_column("choices", [["x", "y", "z"], ["x", "y"]]))
    text = "{kind: multiple_choice, context_template: '{text}', choices_column: choices, hub: {path: owner/rows}}"
    assert load_tasks(str(define(f"task: {text}")))["task"].train["label"][:] == [2, 1]


SINGLE, MULTI = "sequence_classification", "problem_type: multi_label_classification"
NUMBERS = {
    "one label": (SINGLE, "", [3, 1, 2, 1], [2, 0, 1, 0]),
    "several labels": (SINGLE, MULTI, [[3, 1], [2], [], [1, 2]], [[2, 0], [1], [], [0, 1]]),
    "labels of words": (
        "token_classification", "", [[3, 1], [2, 2], [1, 3], [1, 1]], [[2, 0], [1, 1], [0, 2], [0, 0]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_whole_numbers_are_names_where_a_label_is_a_number(case, define):
    """In a file, and in rows that are passed to the file's task later."""
    kind, settings, labels, ids = NUMBERS[case]
    text = filled(TASK, kind, f"{settings}\n  labels: ['1', '2', '3']")
    train = [{"text": "a word", "label": label} for label in labels]
    task = load_tasks(str(define(text, train__jsonl=train, dev__jsonl=train[:1])))["task"]
    assert task.train["label"][:] == ids
    later = Task.from_spec(task.spec, train=Dataset.from_list(train), test=Dataset.from_list(train[1:]))
    assert (later.train["label"][:], later.test["label"][:]) == (ids, ids[1:])
    assert replace(later, validation=Dataset.from_list(train[2:])).validation["label"][:] == ids[2:]


def test_ids_of_labels_that_are_numbers_need_their_names():
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]})
    message = r"train row 1: the label 0 is none of '1', '2'.*give ids as a `datasets.ClassLabel`"
    with pytest.raises(DataError, match=message):
        Task("task", "sequence_classification", "text", labels=("1", "2"), train=rows)
    named = rows.cast_column("label", ClassLabel(names=["1", "2"]))
    assert Task("task", "sequence_classification", "text", labels=("1", "2"), train=named).train["label"][:] == [1, 0]
    assert Task("task", "sequence_classification", "text", labels=("1", "0"), train=rows).train["label"][:] == [0, 1]


def test_splits_that_name_labels_in_another_order(define, hub):
    hub(train=named([0], ("a", "b")), validation=named([0], ("b", "a")))
    with pytest.raises(DataError, match=r"owner/rows: the labels of validation are b, a, not a, b"):
        load_tasks(str(define(filled(HUB))))
    hub(train=named([0], ("a", "b")), validation=Dataset.from_list(rows(x="a")))
    with pytest.raises(DataError, match=r"owner/rows: row 0: the label 'a' is none of 0, 1"):
        load_tasks(str(define(filled(HUB))))


def test_a_regression_on_named_ids(define, hub):
    hub(train=named([2, 0], ("one star", "two stars", "three stars")))
    task = load_tasks(str(define(filled(HUB, "regression"))))["task"]
    assert task.labels is None
    assert task.train["label"][:] == [2.0, 0.0]
    hub(train=named([2, 0], ("x", "y", "z")))
    assert load_tasks(str(define(filled(HUB, "masked_lm"))))["task"].labels is None


def nested(values, features):
    return Dataset.from_dict({"meta": values}, features=Features({"meta": features}))


def test_nested_columns_of_a_dataset(define, hub):
    features = {"text": Value("string"), "mood": ClassLabel(names=["1", "0"])}
    text = filled(HUB).replace("rows}", "rows, columns: {text: meta.text, label: meta.mood}}")
    hub(train=nested([{"text": "a", "mood": 0}, {"text": "b", "mood": 1}], features))
    task = load_tasks(str(define(text)))["task"]
    assert task.labels == ("1", "0")
    assert task.train["label"][:] == [0, 1]
    with pytest.raises(DataError, match=r"owner/rows: train has no column 'meta.txt', only meta"):
        load_tasks(str(define(text.replace("meta.text", "meta.txt"))))
    hub(train=nested([{"text": "a", "mood": 0}, None], features))
    with pytest.raises(
        DataError, match=r"owner/rows: row 1: (there is no column 'meta.text'|the column 'text' holds)"
    ):
        load_tasks(str(define(text)))
    hub(train=Dataset.from_list([{"meta.text": "a", "meta.mood": "x"}, {"meta.text": "b", "meta.mood": "y"}]))
    assert load_tasks(str(define(text)))["task"].train["text"][:] == ["a", "b"]


def test_a_dataset_that_cannot_be_made(define, tmp_path):
    """`datasets` raises its own error for files that do not fit each other."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").write_text('text,label\na,1\n"b,2\n')
    text = f"task: {{kind: regression, text_columns: [text], hub: {{path: {tmp_path}/folder}}}}"
    with pytest.raises(DataError, match=r"folder: cannot be loaded from the Hub: .*EOF inside string"):
        load_tasks(str(define(text)))


@pytest.mark.parametrize(
    ("labels", "value", "expected"),
    [
        ("[x, y, z]", [1, 0, 1], [0, 2]),
        ("[x, y, z]", [0, 0, 0], []),
        ("[x, y, z]", [1.0, 0.0, 0.0], [0]),
        ("[x, y, z]", [True, False, True], [0, 2]),
        ("[x, y, z]", [1, 0], [1, 0]),  # ids
        ("[x, y, z]", [1, 2, 0], [1, 2, 0]),
        ("[x, y, z]", [1, 0, 2, 1], "list one label twice"),
        ("[x, y, z]", [1.0, 0.0], "the label 1.0 is none of"),
        ("[x, y]", [1, 0], "may be two ids, or a flag for each label"),
        ("[x, y]", [True, False], [0]),
        ("[x, y]", [1, 1], [0, 1]),
        ("[x, y]", [1], [1]),
        ("['0', '1', '2']", ["1", "0", "2"], [1, 0, 2]),
        ("['0', '1']", ["1", "0"], [1, 0]),
        ("[x, y, z]", "1,0,1", [0, 2]),
        ("[x, y, z]", [["x"]], "the label .'x'. is none of"),
        ("[x, y]", [{"x": 1}, [1]], "the label .* is none of"),
        ("[x, y]", "1,0", "may be two ids, or a flag for each label"),
    ],
)
def test_flags_of_several_labels(define, labels, value, expected):
    """`[1, 0, 1]`, a common form of several labels, cannot be a list of ids: it would list one label twice."""
    settings = f"problem_type: multi_label_classification\n  labels: {labels}"
    path = define(filled(TASK, settings=settings), train__jsonl=rows(a=value), dev__jsonl=rows(a=[]))
    if isinstance(expected, str):
        with pytest.raises(DataError, match=rf"train.jsonl, line 1: .*{expected}"):
            load_tasks(str(path))
    else:
        assert load_tasks(str(path))["task"].train["label"][:] == [expected]


def test_two_ids_after_other_ids_are_two_ids(define):
    settings = "problem_type: multi_label_classification\n  labels: [x, y]"
    path = define(
        filled(TASK, settings=settings), train__jsonl=rows(a=[0], b=[0, 1]), dev__jsonl=rows(a=[1, 1], b=[1, 0])
    )
    task = load_tasks(str(path))["task"]
    assert (task.train["label"][:], task.validation["label"][:]) == ([[0], [0, 1]], [[0, 1], [0]])


@pytest.mark.parametrize("flags", [([1, 0], [0, 1]), ([1, 0, 1], [0, 0, 0]), ("1,0", "0,1"), ([1, 0], [])])
def test_flags_without_named_labels_are_refused(define, flags):
    path = define(
        filled(TASK, settings="problem_type: multi_label_classification"),
        train__jsonl=rows(a=flags[0], b=flags[1]), dev__jsonl=rows(a=flags[0]),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"train.jsonl: the training rows have a flag, .* write `labels`"):
        load_tasks(str(path))


def test_flags_and_ids_in_one_column(define):
    settings = "problem_type: multi_label_classification\n  labels: [x, y, z]"
    path = define(filled(TASK, settings=settings), train__jsonl=rows(a=[1, 0, 1], b=[1, 0]), dev__jsonl=rows(a=[]))
    with pytest.raises(
        DataError, match=r"train.jsonl, line 2: the label 1 is read as id, where the first was read as fl"
    ):
        load_tasks(str(path))


@pytest.mark.parametrize("labels", [("True", "False"), ("true", "false")])
def test_truth_values_in_another_order_are_refused(labels):
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [True, False]})
    with pytest.raises(
        ValueError, match=r"the column 'label' holds truth values, of which false is id 0, and .*: pass"
    ):
        Task("mood", "sequence_classification", "text", labels, train=rows)
    right = Task("mood", "sequence_classification", "text", labels[::-1], train=rows)
    assert [right.labels[label].lower() for label in right.train["label"]] == ["true", "false"]
    assert Task("mood", "sequence_classification", "text", ("no", "yes"), train=rows).labels == ("no", "yes")
