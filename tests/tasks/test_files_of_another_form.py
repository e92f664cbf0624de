"""One fault of a file is one problem, which says what to write."""

import gzip
import json

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.setup.task_setup import make_task_setup
from hf_alphavil.tasks import DataError, Task, load_tasks
from hf_alphavil.tasks.__main__ import main
from support.own_files import write_rows

ROWS = [{"text": f"t{i}", "label": ("bad", "good")[i % 2]} for i in range(30)]
TASK = "mood:\n  kind: sequence_classification\n  text_columns: [text]\n  files: {splits: {train: FILE}}\n"


def problems(folder, capsys):
    """What `check` says about the folder's tasks."""
    assert main(["check", str(folder / "tasks.yaml")]) == 1
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(ROWS, indent=1), "is one JSON array, not an object on each line. Name it .json, or write `format"),
        (json.dumps(ROWS), "is one JSON array, not an object on each line. Name it .json, or write `format: json`"),
        ("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]", "is one JSON array, not an object on each line."),
        (json.dumps({"data": ROWS}, indent=1), "is one JSON object, not an object on each line. Name it .json"),
        (json.dumps(ROWS, indent=1)[:500], "is one JSON array, not an object on each line."),
        ("text,label\n" + "a,good\n" * 30, "no line is a JSON object; the first is 'text,label'. Give the file the"),
    ],
)
def test_a_file_that_is_not_json_lines(tmp_path, capsys, content, reason):
    (tmp_path / "train.jsonl").write_text(content)
    (tmp_path / "tasks.yaml").write_text(TASK.replace("FILE", "train.jsonl"))
    (problem,) = problems(tmp_path, capsys)
    assert problem.startswith(f"problem: {tmp_path / 'train.jsonl'}, line 1: {reason}")
    with pytest.raises(DataError, match="JSON"):
        load_tasks(str(tmp_path / "tasks.yaml"))


def test_a_faulty_row_of_json_lines_is_one_row(tmp_path, capsys):
    lines = [*map(json.dumps, ROWS[:3]), "[1]", json.dumps(ROWS[3])]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "tasks.yaml").write_text(TASK.replace("FILE", "train.jsonl"))
    (problem,) = problems(tmp_path, capsys)
    assert "line 4: expected a JSON object, found list" in problem


@pytest.mark.parametrize("source", ["files", "hub"])
@pytest.mark.parametrize("labels", ["", "  labels: [bad, good]\n"])
def test_whole_labels_with_a_gap(tmp_path, capsys, monkeypatch, source, labels):
    """pandas makes whole numbers floats where one is missing. The row that lacks its label is the only problem."""
    frame = pd.DataFrame({"text": ["a"] * 9, "label": [0, 1, 0, 1, 0, 1, 0, None, 1]})
    text = TASK.replace("FILE", "train.parquet") + labels
    if source == "files":
        frame.to_parquet(tmp_path / "train.parquet")
    else:
        rows = Dataset.from_pandas(frame)
        monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: DatasetDict({"train": rows}))
        text = text.replace("files: {splits: {train: train.parquet}}", "hub: {path: owner/rows}")
    (tmp_path / "tasks.yaml").write_text(text)
    (problem,) = problems(tmp_path, capsys)
    assert problem.endswith(": row 7: the label None means that it is missing.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"text,label", mtime=0), "is compressed by gzip. Unpack it."),
        (b"PK\x03\x04\xff", "is a ZIP archive or a spreadsheet. Unpack it, or save the sheet as CSV."),
        ("text,label\na,b".encode("utf-16"), "is not UTF-8, but UTF-16. Convert the file to UTF-8."),
        ("text,label\né,b".encode("latin-1"), "is not UTF-8. Convert the file to UTF-8."),
        (None, "is a Parquet file. Give it the suffix .parquet, or write `format: parquet` below `files`."),
        (b"Text,label\na,b", "there is no column 'text', only 'Text', 'label'. Is 'Text' meant? "),
        (b"text, label\na,b", "there is no column 'label', only 'text', ' label'. Is ' label' meant? "),
        (b"\ntext,label\na,b", "there is no header: the line is blank. Remove the line."),
    ],
)
def test_a_file_that_is_not_csv(tmp_path, capsys, content, reason):
    (tmp_path / "tasks.yaml").write_text(TASK.replace("FILE", "train.csv"))
    if content is None:
        write_rows(tmp_path / "train.parquet", ROWS).rename(tmp_path / "train.csv")
    else:
        (tmp_path / "train.csv").write_bytes(content)
    (problem,) = problems(tmp_path, capsys)
    assert reason in problem


@pytest.mark.parametrize("name", ["train.csv", "./train.csv", "link.csv"])
def test_one_file_for_training_and_validation(tmp_path, name):
    write_rows(tmp_path / "train.csv", ROWS)
    (tmp_path / "link.csv").symlink_to("train.csv")
    (tmp_path / "tasks.yaml").write_text(TASK.replace("FILE", f"train.csv, validation: {name}"))
    with pytest.raises(DataError, match=r"tasks.yaml, line 4: the training and the validation rows .* are one file"):
        load_tasks(str(tmp_path / "tasks.yaml"))


@pytest.mark.parametrize("score", ["1_0", "1,5", "50%", "0x1", "nan", ""])
def test_a_score_that_is_not_a_number(tmp_path, capsys, score):
    (tmp_path / "tasks.yaml").write_text(
        TASK.replace("sequence_classification", "regression").replace("FILE", "t.csv")
    )
    write_rows(tmp_path / "t.csv", [{"text": "a", "label": score}])
    (problem,) = problems(tmp_path, capsys)
    assert f"line 2: the label {score!r} is not a number" in problem


def test_numbers_with_a_fraction_are_not_classes(tmp_path, capsys):
    pd.DataFrame({"text": ["a"] * 3, "label": [0.5, 1.0, None]}).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "tasks.yaml").write_text(TASK.replace("FILE", "train.parquet"))
    assert "row 0: the label 0.5 is neither a string nor a whole number." in problems(tmp_path, capsys)[0]


def test_printed_lists(tmp_path, capsys):
    """A list that pandas printed into a CSV file: the message says what to write."""
    text = TASK.replace("sequence", "token").replace("FILE", "train.csv")
    (tmp_path / "tasks.yaml").write_text(text)
    advice = "with spaces between them, or as a list in JSON or Parquet."
    for words, tags in (("['a', 'b']", "O B-A"), ("a b", "['O', 'B-A']")):
        write_rows(tmp_path / "train.csv", [{"text": words, "label": tags}])
        assert problems(tmp_path, capsys)[0].endswith(advice)
    text = text.replace("token_cl", "sequence_cl") + "  problem_type: multi_label_classification\n"
    (tmp_path / "tasks.yaml").write_text(text)
    write_rows(tmp_path / "train.csv", [{"text": "a", "label": "['x', 'y']"}])
    assert problems(tmp_path, capsys)[0].endswith("write them with ',' between them, or as a list in JSON or Parquet.")


@pytest.mark.parametrize(
    ("tags", "warning"),
    [
        ("O U-T B-A I-A L-A", None),
        ("O S-T B-A M-A E-A", None),
        ("B M E S O", None),
        ("O B-A I-A X-A T", "span_f1 counts every word with the label T or X-A as a span: it reads IOB, IOBES, BILOU"),
        ("O T-B T-I A-B A-I", "span_f1 counts spans of B- and I- labels, but no label starts with B- or I-"),
    ],
)
def test_schemes_of_tags_that_check_knows(tmp_path, capsys, tags, warning):
    (tmp_path / "tasks.yaml").write_text(TASK.replace("sequence", "token").replace("FILE", "train.jsonl"))
    rows = [{"text": ["a", "b", "c", "d", "e"], "label": tags.split()}]
    write_rows(tmp_path / "train.jsonl", rows)
    assert main(["check", str(tmp_path / "tasks.yaml")]) == 0
    out = capsys.readouterr().out
    assert ("warning: span_f1" in out) == (warning is not None)
    assert warning is None or f"warning: {warning}" in out


@pytest.mark.parametrize(
    ("kind", "labels", "warning"),
    [
        ("token_classification", ["O", "T-B", "T-I"], "span_f1 counts spans of B- and I- labels, but no label starts"),
        ("token_classification", ["O", "B-T", "I-T"], None),
        ("sequence_classification", ["good", "Good"], "the labels 'good', 'Good' differ only in case or spaces."),
    ],
)
def test_odd_labels_are_told_once_before_training(caplog, tokenizer, kind, labels, warning):
    """The warnings of `check` come in a run too."""
    is_list = kind == "token_classification"
    rows = Dataset.from_dict({"text": ["a b"] * 40, "label": [[0, 1] if is_list else n % 2 for n in range(40)]})
    task = Task("own", kind, ("text",), labels=labels, train=rows, validation=rows)
    args = MultitaskTrainingArguments(output_dir="unused", use_cpu=True, target_task="own", report_to=[])
    make_task_setup(args, {"own": task}, None, None, tokenizer, None)
    told = [record.getMessage() for record in caplog.records if "Task 'own'" in record.getMessage()]
    assert len(told) == (warning is not None)
    assert warning is None or warning in told[0]
