"""The validator, as a user runs it."""

import json

import pytest

from hf_alphavil.tasks import DataError, load_tasks
from hf_alphavil.tasks.__main__ import main
from support.driving import run_module
from support.forking import fork
from support.official_miniatures import FOLDERS

TASKS = """
moods:
  kind: sequence_classification
  text_columns: [text]
  labels: [good, bad]
  files: {splits: {train: train.csv, validation: dev.csv}}
quiz:
  kind: multiple_choice
  context_template: "{question}"
  choices_column: choices
  files: {splits: {train: quiz.jsonl}}
"""


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    (tmp_path / "train.csv").write_text("text,label\nIt was fine,good\nAll of it hurt,bad\nIt was fine,good\n")
    (tmp_path / "dev.csv").write_text("text,label\nIt was fine,good\n")
    rows = [
        {"question": "Who?", "choices": ["a", "b", "c"], "label": 2},
        {"question": "", "choices": ["a", "b"], "label": 0},
    ]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_sound_tasks(tasks, capsys):
    assert main(["check", str(tasks / "tasks.yaml")]) == 0
    out = capsys.readouterr().out
    moods, quiz = out.split("\n\n\n") if "\n\n\n" in out else out.split("quiz:", 1)
    assert "moods: sequence classification, 2 labels, scored by accuracy" in moods
    assert "train: 3 rows\n  labels   good: 2, bad: 1\n  words    3 to 4, median 3" in moods
    assert moods.count("always answering the most frequent label scores accuracy 1.0000") == 1
    assert "row 1    label bad\n           All of it hurt" in moods
    assert "warning: train: rows that repeat the texts and label of an earlier row: 1" in moods
    assert "warning: validation: no row has the label bad" in moods
    assert "warning: validation: rows that repeat the texts of a training row: 1" in moods
    assert out.count("no problems") == 2
    assert "up to 3 choices" in quiz
    assert "row 0    label 2\n           Who? ‖ a\n           Who? ‖ b\n           Who? ‖ c" in quiz


def test_warnings_of_what_may_be_a_mistake(tasks, capsys):
    (tasks / "tasks.yaml").write_text("""
moods: {kind: sequence_classification, text_columns: [text], files: {splits: {train: train.csv}}}
quiz:
  kind: multiple_choice
  context_template: "{question}"
  choices_column: choices
  files: {splits: {train: quiz.jsonl, validation: dev.jsonl}}
words: {kind: token_classification, text_columns: [text], files: {splits: {train: words.csv}}}
""")
    (tasks / "train.csv").write_text("text,label\nfine,good\nbad,Good\n" + "odd, good\n" * 100)
    rows = [{"question": "?", "choices": choices, "label": 0} for choices in (["a", "a"], ["a", "", "b"], ["a", "b"])]
    for name in ("quiz.jsonl", "dev.jsonl"):
        (tasks / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tasks / "words.csv").write_text("text,label\nMary ran,PER O\n")
    assert main(["check", str(tasks)]) == 0  # a folder
    reports = capsys.readouterr().out.split("no problems")
    assert "warning: the labels ' good', 'Good', 'good' differ only in case or spaces" in reports[0]
    assert "warning: no validation split: a target task needs one, or the key `validation_fraction`" in reports[0]
    assert "hold out rows" not in reports[0]
    assert "warning: train: 2 rows have a choice twice, or an empty one" in reports[1]
    assert "warning: train: 3 rows are too few to hold out 8 of them for α if this is the target" in reports[1]
    assert "no validation split" not in reports[1]
    assert "warning: span_f1 counts spans of B- and I- labels, but no label starts with B- or I-" in reports[2]


def test_every_problem_is_reported(tasks, capsys):
    lines = ["text,label", "fine,good", "too,many,fields", "odd,maybe", "fine again,bad"]
    (tasks / "train.csv").write_text("\n".join(lines) + "\n" + "x,y\n" * 30)
    (tasks / "dev.csv").write_bytes(b"text,label\ncaf\xe9,good\n")
    assert main(["check", "moods", "--include_path", str(tasks)]) == 1
    out = capsys.readouterr().out
    assert "train: 2 rows" in out
    assert f"problem: {tasks / 'train.csv'}, line 3: expected 2 comma-separated fields (text, label), found 3." in out
    assert f"problem: {tasks / 'train.csv'}, line 4: the label 'maybe' is none of 'good', 'bad'." in out
    assert f"problem: {tasks / 'train.csv'}: 12 more" in out
    assert f"problem: {tasks / 'dev.csv'}, line 2: is not UTF-8." in out
    assert out.endswith("33 problems\n")


def test_faults_that_leave_no_labels_to_learn(tasks, capsys):
    (tasks / "tasks.yaml").write_text(TASKS.replace("  labels: [good, bad]\n", ""))
    (tasks / "train.csv").write_text('text,label\nA "lone" one,"good\nfine,bad\n')
    assert main(["check", "moods", "--include_path", str(tasks)]) == 1
    out = capsys.readouterr().out
    assert f"problem: {tasks / 'train.csv'}, line 2: is not CSV" in out
    assert "holds no rows" not in out
    assert out.endswith("1 problem\n")
    with pytest.raises(DataError, match=r"train.csv, line 2: is not CSV"):
        load_tasks("moods", include_path=tasks)
    (tasks / "train.csv").write_text("text,mood\nfine,bad\n")
    with pytest.raises(DataError, match=r"^[^ ]*train.csv, line 1: there is no column 'label'"):
        load_tasks("moods", include_path=tasks)


def test_faults_of_labels_to_learn_hide_no_others(tasks, capsys):
    (tasks / "tasks.yaml").write_text(TASKS.replace("  labels: [good, bad]\n", ""))
    (tasks / "train.csv").write_text("text,label\nfine,good\n,bad\nodd,\nsad,bad\nodd,\n")
    (tasks / "dev.csv").write_text("Text,label\nfine,good\n")
    assert main(["check", "moods", "--include_path", str(tasks)]) == 1
    out = capsys.readouterr().out
    for line in (4, 6):
        assert out.count(f"train.csv, line {line}: the label is empty.") == 1
    assert out.count("dev.csv, line 1: there is no column 'text'") == 1
    assert "train: 3 rows" in out
    assert out.endswith("3 problems\n")
    with pytest.raises(DataError, match=r"train.csv, line 4: the label is empty."):
        load_tasks("moods", include_path=tasks)
    (tasks / "train.csv").write_text("text,mood\nfine,good\n")  # no label at all
    assert main(["check", "moods", "--include_path", str(tasks)]) == 1
    out = capsys.readouterr().out
    assert "train.csv, line 1: there is no column 'label'" in out
    assert "dev.csv, line 1: there is no column 'text'" in out
    assert out.endswith("2 problems\n")


def test_a_mistyped_label_is_not_silently_one_more(tasks, capsys, caplog):
    text = TASKS.replace("  labels: [good, bad]\n", "")
    (tasks / "tasks.yaml").write_text(text)
    rows = "text,label\n" + "".join(f"{number},{('complaint', 'praise')[number % 2]}\n" for number in range(60))
    (tasks / "train.csv").write_text(rows + "odd,complain\nodder,other\n")
    (tasks / "dev.csv").write_text("text,label\nfine,praise\nsad,complaint\n")
    place, advice = "is in 1 training row and no validation row", "or list the task's labels in `labels`"
    wanted = [
        f"the label 'complain' {place}: did you mean 'complaint'? Correct it, {advice}",
        f"the label 'other' {place}: correct it, {advice}",
    ]
    assert main(["check", "moods", "--include_path", str(tasks)]) == 0
    out = capsys.readouterr().out
    assert all(f"warning: {warning}\n" in out for warning in wanted)
    assert out.count("in 1 training row") == 2
    load_tasks("moods", include_path=tasks)
    assert [one.getMessage() for one in caplog.records] == [f"Task 'moods': {warning}." for warning in wanted]
    (tasks / "dev.csv").write_text("text,label\nfine,praise\nodd,complain\nodd,other\n")  # they are meant
    (tasks / "tasks.yaml").write_text(text + "\n")
    assert main(["check", "moods", "--include_path", str(tasks)]) == 0
    assert "training row" not in capsys.readouterr().out.replace("repeat the texts of a training row", "")
    (tasks / "dev.csv").write_text("text,label\nfine,praise\n")
    (tasks / "tasks.yaml").write_text(TASKS.replace("[good, bad]", "[complain, complaint, other, praise]"))
    assert main(["check", "moods", "--include_path", str(tasks)]) == 0
    assert "did you mean" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        (
            "[text]",
            "[subject, txt]",
            "'subject', only 'text', 'label'. `text_columns` names it (tasks.yaml, line 4): correct it there, or name "
            "the column that is there in `files.columns`, as in `columns: {subject: ...}`.",
        ),
        (
            "[text]",
            "[Text]",
            "'Text', only 'text', 'label'. Is 'text' meant? `text_columns` names it (tasks.yaml, line",
        ),
        (
            "dev.csv}",
            "dev.csv}, columns: {text: message}",
            "'message', only 'text', 'label'. `files.columns` names it (tasks.yaml, line 6): correct it there.",
        ),
        (
            "[good, bad]",
            "[good, bad]\n  label_column: mood",
            "'mood', only 'text', 'label'. `label_column` names it (ta",
        ),
        (
            "text_columns: [text]",
            "text_templates: ['{title}: {text}']",
            "'title', only 'text', 'label'. `text_templates`",
        ),
    ],
)
def test_a_missing_column_is_blamed_on_the_key_that_names_it(tasks, old, new, advice):
    (tasks / "tasks.yaml").write_text(TASKS.replace(old, new, 1))
    with pytest.raises(DataError, match=r"train.csv, line 1: there is no column") as caught:
        load_tasks("moods", include_path=tasks)
    assert f"there is no column {advice}" in str(caught.value)


def test_the_default_of_the_label_column_is_named(tasks):
    (tasks / "train.csv").write_text("text,mood\nfine,good\n")
    with pytest.raises(
        DataError, match=r"column 'label', .* It is the default of `label_column`: write that key, or nam"
    ):
        load_tasks("moods", include_path=tasks)


def test_as_the_model_sees_it(tasks, capsys, real_encoder):
    arguments = ["--include_path", str(tasks), "--tokenizer", str(real_encoder), "--max_length", "5"]
    assert main(["check", "moods", *arguments]) == 0
    out = capsys.readouterr().out
    assert "tokens   5 to 5, median 5, 95 % have 5 or fewer; 3 reach the limit of 5 and may be truncated" in out
    assert "[CLS] it was fine [SEP]" in out
    assert "[CLS] all of it [SEP]" in out


@pytest.mark.parametrize("name", FOLDERS)
def test_every_benchmark_task(miniature, capsys, name):
    assert main(["check", name, "--data_dir", str(miniature(name))]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: ")
    assert "no problems" in out


def test_list_table_and_errors(tasks, capsys):
    assert main(["list", "--include_path", str(tasks)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FOLDERS) + 2
    assert any(line.split()[:3] == ["moods", "sequence_classification", "own"] for line in lines)
    assert main(["table"]) == 0
    assert "| `rte` |" in capsys.readouterr().out
    for wrong, message in (("rtx", "error: unknown task 'rtx'"), (str(tasks / "none.yaml"), "no such file")):
        with pytest.raises(SystemExit) as end:
            main(["check", wrong])
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_the_command(real_data):
    command = ["check", "wsc", "--data_dir", str(real_data)]
    finished = fork(run_module, "hf_alphavil.tasks", command)
    assert finished.returncode == 0, finished.stderr
    assert "train: 554 rows\n  labels   False: 295, True: 259" in finished.stdout


def test_the_command_fails_in_words():
    finished = fork(run_module, "hf_alphavil.tasks", ["check", "rtx"])
    assert finished.returncode != 0
    assert "error: unknown task 'rtx'" in finished.stderr
