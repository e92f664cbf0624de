"""The keys of a task's YAML file. Faults are reported with file and line."""

import pytest

from hf_alphavil.tasks import DataError, load_tasks
from support.own_files import MOOD, ROWS

FILES = "  files: {splits: {train: t.csv}}\n"
REST = f"  text_columns: [t]\n{FILES}"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[1, 2]", 1, "is not a mapping"),
        ("a: b: c", 1, "is not YAML"),
        ("a:\n  kind: regression\na:\n  kind: regression\n", 3, "the key 'a' occurs twice"),
        ("a: 3", 1, "the task 'a' is 3, not a mapping"),
        ("a: &own {kind: regression, value_maps: *own}", None, "an alias is inside the value that it refers to"),
        ("a:\n  knd: regression\n", 2, "unknown key 'knd'.*Did you mean 'kind'"),
        ("a:\n  text_columns: [x]\n", 1, "the task 'a' has no 'kind'"),
        ("a:\n  kind: regression\n  text_columns: x\n", 3, "'text_columns' of the task 'a' is 'x': write a list"),
        ("a:\n  kind: regression\n  text_columns: [x]\n", 1, "neither `files` nor `hub`"),
        ("a:\n  kind: regression\n  files:\n    splits: {trian: x.csv}\n", 4, "mapping from train, validation, test"),
        ("a:\n  kind: regression\n  files:\n    format: xls\n    splits: {train: x}\n", 4, "'xls': write one of"),
        ("a:\n  kind: regression\n  files:\n    format: csv\n", 3, "files of the task 'a' has no 'splits'"),
        ("a b:\n  kind: regression\n", 1, "the task name 'a b'"),
        ("RTE:\n  kind: regression\n  files: {splits: {train: x.csv}}\n", 1, "is a benchmark task's"),
        (f"a:\n  kind: regression\n{REST}".replace(".csv", ".doc"), None, "suffix '.doc' is none of"),
        (f"a:\n  kind: regression\n{REST}".replace("t.csv", "x.csv"), None, "x.csv: no such file"),
        (f"a:\n  kind: nonsense\n{REST}", 1, "unknown kind 'nonsense'"),
        (f"a:\n  kind: regression\n  metrics: [accuracy]\n{REST}", 1, "does not fit"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t']\n{FILES}", 1, "the template '{t' cannot be used"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t.s}}']\n{FILES}", 1, "'t.s' is not a plain name; name a"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t[0]}}']\n{FILES}", 1, "is not a plain name"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t}} {{}}']\n{FILES}", 1, "braces without a column's name"),
        (f"a:\n  kind: regression\n  text_templates: ['{{0}}']\n{FILES}", 1, "braces without a column's name"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t:d}}']\n{FILES}", 1, "the name 't' is followed by a format"),
        (f"a:\n  kind: regression\n  text_templates: ['{{t!r}}']\n{FILES}", 1, "the name 't' is followed by a format"),
        ("a: {kind: !!bool maybe}", None, "is not YAML that can be read .KeyError"),
        ("a: {kind: !!timestamp maybe}", None, "is not YAML that can be read .AttributeError"),
        ("a: {kind: !!int ''}", None, "is not YAML that can be read .IndexError"),
        (f"a:\n  kind: regression\n  submission: {{file_name: a.txt}}\n{REST}", 1, "is 'a.txt'; pass one as task.tsv"),
        (f"a:\n  kind: regression\n  submission: {{file_name: ../a.tsv}}\n{REST}", 1, "pass one as task.tsv"),
        (
            f"a:\n  kind: regression\n  submission:\n    file_name: a.jsonl\n    layout: questions\n{REST}",
            3,
            "'submission.layout' of the task 'a' is for benchmarks' tasks",
        ),
        (
            f"a:\n  kind: regression\n  submission: {{file_name: a.tsv, decimals: -1}}\n{REST}",
            1,
            "a number from 0 to 17",
        ),
        (f"a:\n  kind: regression\n  prepare: axg\n{REST}", 3, "'prepare' of the task 'a' is for benchmarks' tasks"),
        (
            "a:\n  kind: regression\n  text_columns: [t]\n  files: {splits: {train: t.csv}, skip_short_rows: true}\n",
            4,
            "'files.skip_short_rows' of the task 'a' is for benchmarks' tasks",
        ),
        (
            "a:\n  kind: sequence_classification\n  text_columns: [t]\n  files:\n    splits: {train: t.csv}\n"
            "    labels: [x, y]\n",
            6,
            "write one for each of its labels, which are not named",
        ),
        (
            "a:\n  kind: sequence_classification\n  labels: [m, n]\n  text_columns: [t]\n  files:\n"
            "    splits: {train: t.csv}\n    labels: [x, x]\n",
            7,
            "write one for each of its labels, which are .'m', 'n'., in their order, and none twice",
        ),
        ("a:\n  kind: regression\n  files: {splits: {train: x.csv, train: t.csv}}\n", 3, "'train' occurs twice"),
        (
            f"a:\n  kind: regression\n  value_maps: {{s: {{b: c}}}}\n{REST}",
            1,
            "value_maps of s, which no template names",
        ),
        (
            f"a:\n  kind: regression\n  value_maps: {{t: {{b: c}}}}\n{REST}",
            1,
            "value_maps of t, which no template names",
        ),
        (f"a:\n  kind: regression\n  label_column: t\n{REST}", 5, "column 't' is the label, and cannot be a text"),
        (f"a:\n  kind: regression\n  label_column: idx\n{REST}", 5, "'idx' is the row's number"),
        (f"a:\n  kind: regression\n  text_columns: [idx]\n{FILES}", 4, "'idx' is the row's number"),
        (
            "a:\n  kind: regression\n  text_columns: [t]\n"
            "  files:\n    splits: {train: t.csv}\n    columns: {lable: x}\n",
            6,
            "`columns` names 'lable', and the task reads idx, label, t[.] Did you mean 'label'[?]",
        ),
        (
            f"a:\n  kind: multiple_choice\n  context_template: '{{t}}'\n  choice_columns: [x, y, z]\n"
            f"  labels: [A, B]\n{FILES}",
            1,
            "there are up to 3 choices and 2 labels",
        ),
        (
            f"a:\n  kind: token_classification\n  submission: {{file_name: a.tsv}}\n{REST}",
            1,
            "lists of labels are written as JSON lines; pass a.jsonl",
        ),
        (
            f"a:\n  kind: sequence_classification\n  labels: [x, y]\n"
            f"  submission: {{file_name: a.tsv, labels: [x]}}\n{REST}",
            1,
            "the submission writes 1 labels, and the task has 2",
        ),
        (
            "a:\n  kind: regression\n  text_columns: [t]\n"
            "  files:\n    splits: {train: t.csv}\n    headers: {dev: [t]}\n",
            6,
            "mapping from train, validation, test to lists of column names",
        ),
        (f"a:\n  kind: regression\n  score_range: [5, 0]\n{REST}", 1, r"score_range is \[5, 0\]; pass the lower end"),
        (f"a:\n  kind: regression\n  score_range: [.nan, 1]\n{REST}", 1, "pass the lower end first"),
        (f"{'n' * 101}:\n  kind: regression\n{REST}", 1, "the task name 'nnn.* is not made of 1 to 100"),
        (
            f'a:\n  kind: regression\n  submission: {{file_name: "a\\0.tsv"}}\n{REST}',
            1,
            "pass printable characters, at most 200 bytes",
        ),
        (f"a:\n  kind: regression\n  submission: {{file_name: {'ü' * 101}.tsv}}\n{REST}", 1, "at most 200 bytes"),
    ],
)
def test_definitions_with_faults(define, text, line, reason):
    path = define(text, t__csv=[{"t": "a", "label": 1}])
    with pytest.raises(DataError, match=reason) as caught:
        load_tasks(str(path))
    assert caught.value.line == line


def test_yaml_may_merge(define):
    """A key beside `<<` overrides the merged one, as in YAML, and is not a key that occurs twice."""
    text = """
base: &base
  kind: regression
  text_columns: [text]
  files: {splits: {train: data.csv}}
other:
  <<: *base
  text_columns: [more]
"""
    rows = [{"text": "a", "more": "b", "label": 1}]
    tasks = load_tasks(str(define(text, data__csv=rows)))
    assert [task.text_columns for task in tasks.values()] == [("text",), ("more",)]


def test_files_of_one_task_name(define, tmp_path):
    for name in ("one.yaml", "two.yaml"):
        define("mood:" + MOOD.replace("\n", "\n  ").replace("FILE", "x.csv"), name, x__csv=ROWS)
    one, two = str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")
    for arguments in (([one, two], None), ([two], one)):
        with pytest.raises(DataError, match=r"two.yaml, line 1: the task 'mood' is defined in .*one.yaml too"):
            load_tasks(arguments[0], include_path=arguments[1])
    assert list(load_tasks([one, one, "mood"], include_path=one)) == ["mood"]


def test_two_tasks_of_one_name(define, tmp_path):
    for name in ("one.yaml", "two.yaml"):
        define("mood:" + MOOD.replace("\n", "\n  ").replace("FILE", "x.csv"), name)
    with pytest.raises(DataError, match=r"two.yaml, line 1: the task 'mood' is defined in .*one.yaml too"):
        load_tasks("mood", include_path=tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        load_tasks("mood", include_path=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"unknown task 'mod'; known are .*mood.* Did you mean 'mood'"):
        load_tasks("mod", include_path=tmp_path / "one.yaml")
