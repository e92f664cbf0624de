"""Tasks of the user, defined in YAML and read from files of every format."""

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict

from hf_alphavil.tasks import DataError, available_tasks, load_tasks
from support.own_files import MOOD, ROWS, write_rows


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "ndjson", "parquet"])
def test_every_format_gives_the_rows(define, suffix):
    path = define(MOOD.replace("FILE", f"data.{suffix}"), "mood.yaml", **{f"data__{suffix}": ROWS})
    (task,) = load_tasks(str(path)).values()
    assert task.name == "mood"
    assert task.labels == ("bad", "good")
    assert task.train["body"][:] == [row["body"] for row in ROWS]
    assert task.train["mood"][:] == [0, 1, 0]
    assert task.train["idx"][:] == [0, 1, 2]


def test_tsv_has_no_quotes_and_text_no_columns(define, tmp_path):
    rows = [{"text": 'a "lone quote', "label": "x"}, {"text": "b", "label": "y"}]
    (tmp_path / "prose.txt").write_text("One line.\n\n  \nAnother \u2028 line.\n", encoding="utf-8")
    path = define(
        """
        pairs: {kind: sequence_classification, text_columns: [text], files: {splits: {train: data.tsv}}}
        prose: {kind: masked_lm, text_columns: [text], files: {splits: {train: prose.txt}}}
        """,
        data__tsv=rows,
    )
    tasks = load_tasks(["prose", "pairs"], include_path=path)
    assert list(tasks) == ["prose", "pairs"]
    assert tasks["pairs"].train["text"][0] == 'a "lone quote'
    assert tasks["prose"].train["text"][:] == ["One line.", "Another \u2028 line."]
    assert tasks["prose"].labels is None


def test_mixed_with_a_benchmark_and_from_a_folder(define, miniature, tmp_path):
    define(MOOD.replace("FILE", "data.csv"), "mood.yaml", data__csv=ROWS)
    (tmp_path / "below").mkdir()
    define(MOOD.replace("FILE", "../data.csv"), "below/other.yml")
    tasks = load_tasks(["mood", "RTE", "other"], data_dir=miniature("rte"), include_path=tmp_path)
    assert [len(task.train) for task in tasks.values()] == [3, 3, 3]
    assert list(tasks) == ["mood", "rte", "other"]
    assert {"mood", "other", "rte"} <= set(available_tasks(tmp_path))


@pytest.mark.parametrize(
    ("settings", "rows", "labels", "expected"),
    [
        ("labels: [no, 'yes']", [("a", "yes")], None, "quotes"),  # YAML's no is false
        ("labels: ['no', 'yes']", [("a", "yes"), ("b", "no")], ("no", "yes"), [1, 0]),
        ("labels: ['no', 'yes']", [("a", "1"), ("b", 0)], ("no", "yes"), [1, 0]),
        ("labels: [0, 1, 2]", [("a", 2), ("b", 0)], ("0", "1", "2"), [2, 0]),
        ("", [("a", 10), ("b", 9), ("c", 10)], ("9", "10"), [1, 0, 1]),
        ("", [("a", True), ("b", False)], ("False", "True"), [1, 0]),
        ("", [("a", "x"), ("b", "x")], None, "two or more"),
        ("", [("a", "x"), ("b", None)], None, "line 2: the label None"),
        ("", [("a", 1), ("b", "1")], None, "written in more than one way"),
        ("", [("a", 0.5), ("b", 1.5)], None, "line 1: the label 0.5"),
        ("labels: ['no', 'yes']", [("a", "yes"), ("b", "maybe")], None, "line 2: the label 'maybe' is none of"),
        ("labels: ['no', 'yes']", [("a", "yes"), ("b", 2)], None, "line 2: the label 2 is none of"),
        ("labels: ['no', 'yes']", [("a", "yes"), (3, "no")], None, "line 2: the column 'text' holds 3"),
    ],
)
def test_labels(define, settings, rows, labels, expected):
    text = f"""
task:
  kind: sequence_classification
  text_columns: [text]
  {settings}
  files: {{splits: {{train: data.jsonl}}}}
"""
    path = define(text, data__jsonl=[{"text": text, "label": label} for text, label in rows])
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected) as caught:
            load_tasks(str(path))
        assert caught.value.file is not None
        return
    task = load_tasks(str(path))["task"]
    assert task.labels == labels
    assert task.train["label"][:] == expected


def test_too_many_labels_are_refused(define):
    text = "task: {kind: sequence_classification, text_columns: [t], files: {splits: {train: data.csv}}}"
    path = define(text, data__csv=[{"t": "a", "label": n} for n in range(1001)])
    with pytest.raises(DataError, match=r"more than 1000 labels.*regression"):
        load_tasks(str(path))


def test_what_files_write_for_labels(define):
    text = """
task:
  kind: sequence_classification
  text_columns: [text]
  labels: [negative, positive]
  files:
    splits: {train: data.csv}
    columns: {text: deep.er, label: answer}
    labels: ["-", "+"]
"""
    rows = [{"deep.er": "a", "answer": "+"}, {"deep.er": "b", "answer": "-"}]
    assert load_tasks(str(define(text, data__csv=rows)))["task"].train["label"][:] == [1, 0]


def test_nested_json_columns(define):
    text = """
task:
  kind: regression
  text_columns: [text]
  files:
    splits: {train: data.jsonl}
    columns: {text: inner.text, label: inner.score}
"""
    path = define(text, data__jsonl=[{"inner": {"text": "a", "score": 1}}, {"inner": {"text": "b", "score": 2.5}}])
    assert load_tasks(str(path))["task"].train["label"][:] == [1.0, 2.5]
    with pytest.raises(DataError, match=r"data.jsonl, line 1: there is no column 'inner.text'"):
        load_tasks(str(define(text, data__jsonl=[{"inner": {}}])))


MULTI = """
tags:
  kind: sequence_classification
  problem_type: multi_label_classification
  text_columns: [text]
  files: {splits: {train: FILE, test: FILE}, label_separator: ";"}
"""


def test_several_labels(define):
    from_csv = [{"text": "a", "label": "x; z"}, {"text": "b", "label": ""}, {"text": "c", "label": "y"}]
    from_json = [{"text": "a", "label": ["x", "z"]}, {"text": "b", "label": []}, {"text": "c", "label": ["y"]}]
    for file, rows in (("data.csv", from_csv), ("data.jsonl", from_json)):
        path = define(MULTI.replace("FILE", file), **{file.replace(".", "__"): rows})
        task = load_tasks(str(path))["tags"]
        assert task.labels == ("x", "y", "z")
        assert task.train["label"][:] == [[0, 2], [], [1]]
        assert task.metrics == ("f1_micro",)
        assert "label" not in task.test.column_names
    with pytest.raises(DataError, match=r"line 1: the labels .* list one label twice"):
        load_tasks(
            str(define(MULTI.replace("FILE", "data.jsonl"), data__jsonl=[{"text": "a", "label": ["x", "x", "y"]}]))
        )


WORDS = "names: {kind: token_classification, text_columns: [words], files: {splits: {train: FILE}}}"


def test_words(define):
    from_csv = [{"words": "Mary  ran", "label": "B-PER O"}]
    from_json = [{"words": ["Mary", "ran"], "label": ["B-PER", "O"]}]
    for file, rows in (("data.csv", from_csv), ("data.parquet", from_json)):
        task = load_tasks(str(define(WORDS.replace("FILE", file), **{file.replace(".", "__"): rows})))["names"]
        assert task.labels == ("B-PER", "O")
        assert task.train["label"][:] == [[0, 1]]
    rows = [{"words": "Mary ran", "label": "B-PER O"}, {"words": "Mary ran", "label": "O"}]
    with pytest.raises(DataError, match="line 3: there are 1 labels for 2 words"):
        load_tasks(str(define(WORDS.replace("FILE", "data.csv"), data__csv=rows)))


def test_choices_of_unequal_number(define):
    text = """
columns:
  kind: multiple_choice
  context_template: "{question}"
  choice_columns: [a, b, c]
  files: {splits: {train: columns.jsonl}}
lists:
  kind: multiple_choice
  context_template: "{question}"
  choices_column: choices
  files: {splits: {train: lists.jsonl}}
"""
    columns = [
        {"question": "?", "a": "x", "b": "y", "c": "z", "label": 2},
        {"question": "?", "a": "x", "b": "y", "c": None, "label": 1},
    ]
    lists = [
        {"question": "?", "choices": ["x", "y", "z", "w"], "label": 3},
        {"question": "?", "choices": ["x", "y"], "label": 0},
    ]
    tasks = load_tasks(str(define(text, columns__jsonl=columns, lists__jsonl=lists)))
    assert tasks["columns"].labels == ("a", "b", "c")
    assert tasks["columns"].train["label"][:] == [2, 1]
    assert tasks["lists"].labels == ("0", "1", "2", "3")
    assert tasks["lists"].train["label"][:] == [3, 0]
    for file, rows, reason in (
        ("columns", [columns[0], columns[1] | {"label": 2}], "line 2: the label 2 is none of 'a', 'b'"),
        ("columns", [columns[1] | {"b": None}], "line 1: the choices are"),
        ("columns", [columns[0] | {"b": None}], "line 1: the choices are"),
        ("lists", [lists[0], lists[1] | {"label": 2}], "line 2: the label 2 is none of '0', '1'"),
        ("lists", [lists[0] | {"choices": ["x"]}], "line 1: the choices are"),
        ("lists", [lists[0] | {"choices": "xy"}], "line 1: the column 'choices' holds 'xy'"),
    ):
        whole = {"columns__jsonl": columns, "lists__jsonl": lists} | {f"{file}__jsonl": rows}
        with pytest.raises(DataError, match=reason):
            load_tasks(str(define(text, **whole)))


def test_validation_fraction(define):
    text = """
task:
  kind: sequence_classification
  text_columns: [text]
  GROUP
  files: {splits: {train: data.jsonl}}
  validation_fraction: 0.25
"""
    rows = [{"text": f"text {n}", "passage": f"{n // 4}", "label": "ab"[n % 2]} for n in range(40)]
    plain = load_tasks(str(define(text.replace("GROUP", ""), data__jsonl=rows)))["task"]
    assert (len(plain.train), len(plain.validation)) == (30, 10)
    assert sorted(plain.train["text"][:] + plain.validation["text"][:]) == sorted(row["text"] for row in rows)
    assert sum(plain.validation["label"]) == 5
    again = load_tasks(str(define(text.replace("GROUP", ""), data__jsonl=rows)))["task"]
    assert again.validation.to_dict() == plain.validation.to_dict()
    assert again.validation._fingerprint == plain.validation._fingerprint
    grouped = load_tasks(str(define(text.replace("GROUP", "group_column: passage"), data__jsonl=rows)))["task"]
    assert not set(grouped.train["passage"]) & set(grouped.validation["passage"])
    with pytest.raises(DataError, match=r"line 7: validation_fraction=0.25 of 1 training rows"):
        load_tasks(str(define(text.replace("GROUP", "labels: [a, b]"), data__jsonl=rows[:1])))
    many = [{"text": f"text {n}", "label": f"label {n // 2}"} for n in range(40)]  # more classes than rows to hold out
    task = load_tasks(str(define(text.replace("GROUP", ""), data__jsonl=many)))["task"]
    assert (len(task.train), len(set(task.train["label"])), len(task.validation)) == (30, 20, 10)


SHARE = """
task:
  kind: sequence_classification
  text_columns: [text]
  validation_fraction: 0.25
  files: {splits: {train: data.jsonl, REST}}
"""


def test_a_validation_fraction_when_some_splits_are_loaded(define):
    """Which splits are loaded does not decide whether rows are held out."""
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)]
    path = define(SHARE.replace(", REST", ""), data__jsonl=rows)
    whole = load_tasks(str(path))["task"]
    for split in ("train", "validation"):
        alone = load_tasks(str(path), splits=(split,))["task"]
        assert getattr(alone, split).to_list() == getattr(whole, split).to_list()
    assert load_tasks(str(path), splits=("train",))["task"].validation is None
    path = define(SHARE.replace("REST", "validation: dev.jsonl"), data__jsonl=rows, dev__jsonl=rows[:4])
    assert (
        len(load_tasks(str(path))["task"].train) == len(load_tasks(str(path), splits=("train",))["task"].train) == 40
    )


@pytest.mark.parametrize("group", ["null", "[1]", "1.5"])
def test_values_that_cannot_be_groups_are_refused(define, tmp_path, group):
    rows = [f'{{"text": "{n}", "label": "ab"[{n % 2}], "passage": {group if n == 2 else n}}}' for n in range(8)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows).replace('"ab"[0]', '"a"').replace('"ab"[1]', '"b"'))
    path = define(
        "a: {kind: sequence_classification, text_columns: [text], group_column: passage, validation_fraction: 0.25, "
        "files: {splits: {train: t.jsonl}}}"
    )
    with pytest.raises(
        DataError, match=r"t.jsonl, line 3: the column 'passage' holds .*(names no group|where earlier)"
    ):
        load_tasks(str(path))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ('[1, "x"]', "[1]", r"line 1: the column 'question_id\[\]' holds 'x', a str where earlier rows hold a int"),
        ('{"a": 1}', '{"a": [1]}', r"line 2: the column 'question_id.a' holds \[1\], a list where"),
        ('{"a": 1}', f'{{"a": {2**70}}}', "line 2: the column 'question_id.a' holds a number of more than 64 bits"),
        ('{"a": "x"}', '{"a": ["\\ud800"]}', "line 2: the column 'question_id' holds a lone surrogate"),
        ('{"a": "x"}', '{"\\ud800": "x"}', "line 2: the column 'question_id' holds a lone surrogate"),
    ],
)
def test_objects_that_no_column_can_hold(define, tmp_path, first, second, reason):
    rows = [f'{{"text": "{n}", "label": {n}, "inner": {value}}}' for n, value in enumerate((first, second))]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    path = define(
        "a: {kind: sequence_classification, text_columns: [text], labels: [x, y], metrics: [f1a, exact_match], "
        "files: {splits: {train: t.jsonl}, columns: {question_id: inner}}}"
    )
    with pytest.raises(DataError, match=rf"t.jsonl, {reason}"):
        load_tasks(str(path))


def test_a_duplicate_parquet_column(define, tmp_path):
    table = pyarrow.table([["a"], [1.0], [2.0]], names=["t", "label", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    path = define("a: {kind: regression, text_columns: [t], files: {splits: {train: t.parquet}}}")
    with pytest.raises(DataError, match=r"t.parquet: the column 'label' occurs twice"):
        load_tasks(str(path))


@pytest.mark.parametrize(
    ("kind", "label", "reason"),
    [
        ("regression", "1e39", "1e\\+39 is not a number"),  # infinity in float32
        ("regression", "-1e39", "-1e\\+39 is not a number"),
        ("regression", "NaN", "nan is not a number"),
        ("sequence_classification", '"\\ud800"', "holds a lone surrogate"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_labels_that_no_model_can_hold(define, tmp_path, kind, label, reason, suffix):
    rows = ['{"t": "a", "label": 3e38}', f'{{"t": "b", "label": {label}}}']
    rows = rows if kind == "regression" else ['{"t": "a", "label": "x"}', rows[1]]
    (tmp_path / f"t.{suffix}").write_text("[" + ",\n".join(rows) + "]" if suffix == "json" else "\n".join(rows))
    path = define(f"a: {{kind: {kind}, text_columns: [t], files: {{splits: {{train: t.{suffix}}}}}}}")
    with pytest.raises(DataError, match=rf"t\.{suffix}, line 2: the label .*{reason}"):
        load_tasks(str(path))


def test_a_duplicate_json_key_is_refused(define, tmp_path):
    path = define("a: {kind: regression, text_columns: [t], files: {splits: {train: t.json}}}")
    for text in ('[{"t": "a", "label": 1, "label": 2}]', '{"data": [], "data": [{"t": "a", "label": 1}]}'):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(DataError, match=r"t\.json: is not JSON \(the key '(label|data)' occurs twice\)"):
            load_tasks(str(path))


def test_an_evaluation_only_task(define, miniature):
    """The source or the definition names its labels: there are no training rows to take them from."""
    text = """
probe:
  kind: sequence_classification
  text_columns: [text]
  head_task: RTE
  LABELS
  files: {splits: {validation: data.jsonl}}
"""
    rows = [{"text": "a", "label": "not_entailment"}]
    path = define(text.replace("LABELS", "labels: [entailment, not_entailment]"), data__jsonl=rows)
    task = load_tasks(["probe", "rte"], data_dir=miniature("rte"), include_path=path)["probe"]
    assert (task.head_task, task.validation["label"][:]) == ("rte", [1])
    with pytest.raises(DataError, match=r"tasks.yaml, line 2: nothing names the labels of the task 'probe': write"):
        load_tasks(str(define(text.replace("LABELS", ""), data__jsonl=rows)))


def test_evaluated_with_a_task_of_the_same_file(define):
    text = """
main: {kind: regression, text_columns: [text], evaluated_with: [probe], files: {splits: {train: data.csv}}}
probe: {kind: regression, text_columns: [text], head_task: main, files: {splits: {validation: data.csv}}}
"""
    path = define(text, data__csv=[{"text": "a", "label": 1}])
    assert list(load_tasks("main", include_path=path)) == ["main", "probe"]


def test_names_and_ids_in_one_column(define):
    """In `A`, `"1"`, `"2"` the digits may count from 1."""
    text = (
        "a: {kind: sequence_classification, text_columns: [text], labels: [A, B, C], "
        "files: {splits: {train: t.jsonl, validation: dev.jsonl}}}"
    )
    rows = [{"text": "a", "label": "A"}, {"text": "b", "label": "1"}]
    with pytest.raises(
        DataError, match=r"t.jsonl, line 2: the label '1' is read as id, where the first was read as na"
    ):
        load_tasks(str(define(text, t__jsonl=rows, dev__jsonl=rows[:1])))
    task = load_tasks(str(define(text, t__jsonl=rows[:1], dev__jsonl=rows[1:])))["a"]
    assert (task.train["label"][:], task.validation["label"][:]) == ([0], [1])


@pytest.mark.parametrize(
    "value",
    [
        "['a', 'b']",
        '["a", "b"]',
        "['a' 'b']",
        "[]",
        "[0, 2]",
        "[3 0]",
        "[1.0]",
        "[True, False]",
        "['It', \"'s\"]",
        "('a', 'b')",
        "{'a', 'b'}",
        "[true]",
    ],
)
def test_lists_as_python_prints_them(define, value):
    """pandas writes lists into CSV files this way."""
    rows = [{"text": "x y", "label": value}, {"text": "x y", "label": "a b"}]
    path = define(MULTI.replace("FILE", "data.csv"), data__csv=rows)
    with pytest.raises(
        DataError, match=r"data.csv, line 2: the labels are .*neither a list nor a string with separator"
    ):
        load_tasks(str(path))
    if not value.startswith(("['", '["')):  # which may well be words
        return
    words = [{"words": value, "label": "a b"}, {"words": "x y", "label": "a b"}]
    with pytest.raises(DataError, match=r"data.csv, line 2: the column 'words' .*it is a list as Python prints it"):
        load_tasks(str(define(WORDS.replace("FILE", "data.csv"), data__csv=words)))


def test_labels_with_tabs_or_line_ends(define):
    rows = [{"text": "a", "label": "x\ty"}, {"text": "b", "label": "z"}]
    text = "a: {kind: sequence_classification, text_columns: [text], files: {splits: {train: t.jsonl}}}"
    with pytest.raises(DataError, match=r"the label 'x\\ty' holds a tab or a line end"):
        load_tasks(str(define(text, t__jsonl=rows)))


def test_the_validation_share_counts_rows_not_groups(define):
    text = """
a:
  kind: regression
  text_columns: [text]
  group_column: passage
  validation_fraction: 0.1
  files: {splits: {train: t.jsonl}}
"""
    for name in ("a", "g93b", "zz"):
        rows = [{"text": f"{n}", "passage": name if n < 90 else f"p{n}", "label": n} for n in range(100)]
        task = load_tasks(str(define(text, t__jsonl=rows)))["a"]
        assert (len(task.train), len(task.validation)) == (90, 10)
        assert task.train["idx"][:] == sorted(task.train["idx"][:])
        assert not set(task.train["passage"][:]) & set(task.validation["passage"][:])
    with pytest.raises(
        DataError, match=r"line 6: validation_fraction=0.1 of 90 training rows cannot be held out .its gro"
    ):
        load_tasks(str(define(text, t__jsonl=rows[:90])))
    rows = [{"text": f"{n}", "passage": f"{n // 25}", "label": n} for n in range(100)]  # no group is as small
    task = load_tasks(str(define(text, t__jsonl=rows)))["a"]
    assert (len(task.train), len(task.validation)) == (75, 25)


def test_rows_of_load_dataset(define, monkeypatch):
    """Rows of the Hub: string labels, named labels, other splits and columns."""
    rows = {"content": ["a", "b"], "mood": ["bad", "good"]}
    loaded = DatasetDict({"training": Dataset.from_dict(rows)})
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: loaded)
    text = """
task:
  kind: sequence_classification
  text_columns: [text]
  hub: {path: owner/moods, splits: {train: training}, columns: {text: content, label: mood}}
"""
    task = load_tasks(str(define(text)))["task"]
    assert task.labels == ("bad", "good")
    assert task.train["label"][:] == [0, 1]
    named = loaded["training"].cast_column("mood", ClassLabel(names=["good", "bad"]))
    loaded["training"] = named
    task = load_tasks(str(define(text)))["task"]
    assert task.labels == ("good", "bad")
    assert task.train["label"][:] == [1, 0]
    with pytest.raises(DataError, match=r"owner/moods: its labels are good, bad, not a, b"):
        load_tasks(str(define(text + "  labels: [a, b]\n")))
    with pytest.raises(DataError, match=r"has no split 'train', only training"):
        load_tasks(str(define(text.replace("train: training", "train: train"))))
    with pytest.raises(DataError, match=r"train has no column 'text', only content, mood"):
        load_tasks(str(define(text.replace("text: content, ", ""))))


def test_rows_of_a_local_folder_by_load_dataset(define, tmp_path):
    write_rows(tmp_path / "folder" / "train.csv", [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    text = f"task: {{kind: sequence_classification, text_columns: [text], hub: {{path: {tmp_path}/folder}}}}"
    assert load_tasks(str(define(text)))["task"].train["label"][:] == [0, 1]
