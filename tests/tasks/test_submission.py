"""Prediction files of single tasks, in the format of GLUE and SuperGLUE."""

import json

import numpy as np
import pytest
from datasets import Dataset

from hf_alphavil.tasks import Task, load_tasks, write_submission

LOGITS = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0]])


@pytest.mark.parametrize(
    ("name", "file", "predictions", "lines"),
    [
        ("rte", "RTE.tsv", LOGITS, ["0\tentailment", "1\tnot_entailment", "2\tentailment"]),
        ("rte", "RTE.tsv", (LOGITS, None), ["0\tentailment", "1\tnot_entailment", "2\tentailment"]),
        ("rte", "RTE.tsv", [1, 1, 0], ["0\tnot_entailment", "1\tnot_entailment", "2\tentailment"]),
        ("mrpc", "MRPC.tsv", LOGITS, ["0\t0", "1\t1", "2\t0"]),
        ("wnli", "WNLI.tsv", LOGITS, ["0\t0", "1\t1", "2\t0"]),
        ("cola", "CoLA.tsv", LOGITS, ["0\t0", "1\t1", "2\t0"]),
        ("stsb", "STS-B.tsv", np.array([[5.3], [-0.2], [3.14159]]), ["0\t5.000", "1\t0.000", "2\t3.142"]),
        ("stsb", "STS-B.tsv", np.float32([1, 2.5, -0.0001]), ["0\t1.000", "1\t2.500", "2\t0.000"]),
    ],
)
def test_glue(miniature, tmp_path, name, file, predictions, lines):
    task = load_tasks(name, data_dir=miniature(name))[name]
    path = write_submission(task, predictions, tmp_path / "out" / "deep")
    assert path == tmp_path / "out" / "deep" / file
    assert path.read_bytes().decode().split("\n") == ["index\tprediction", *lines, ""]


@pytest.mark.parametrize(
    ("name", "file", "predictions", "labels"),
    [
        ("cb", "CB.jsonl", [[0, 0, 1], [1, 0, 0], [0, 1, 0]], ["neutral", "entailment", "contradiction"]),
        ("copa", "COPA.jsonl", LOGITS, [0, 1, 0]),
    ],
)
def test_superglue(miniature, tmp_path, name, file, predictions, labels):
    task = load_tasks(name, data_dir=miniature(name))[name]
    path = write_submission(task, predictions, tmp_path)
    assert path.name == file
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"idx": n, "label": label} for n, label in enumerate(labels)]
    assert lines[0].startswith('{"idx": 0, "label": ')


def test_real_test_sets_line_by_line(real_data, tmp_path):
    for name, task in load_tasks(["rte", "cb", "stsb"], data_dir=real_data).items():
        rows, size = len(task.test), 1 if task.labels is None else len(task.labels)
        path = write_submission(task, np.random.default_rng(0).normal(size=(rows, size)), tmp_path)
        assert len(path.read_text().splitlines()) == rows + (name != "cb")


def test_a_task_of_the_user(tmp_path):
    task = Task(
        "mood", "sequence_classification", ("text",), ("bad", "good"), test=Dataset.from_dict({"text": ["a", "b"]})
    )
    path = write_submission(task, np.array([1, 0]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\tgood\n1\tbad\n"


def test_errors(miniature, tmp_path):
    rte = load_tasks("rte", data_dir=miniature("rte"))["rte"]
    for predictions in (LOGITS[:2], [0, 1, 0, 1], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="predictions for 3 test rows"):
            write_submission(rte, predictions, tmp_path)
    for predictions in ([0, 1, 2], [0, -1, 1], [0, 0.5, 1]):
        with pytest.raises(ValueError, match="is not an id from 0 to 1"):
            write_submission(rte, predictions, tmp_path)
    with pytest.raises(ValueError, match="not a finite number: has training diverged"):
        write_submission(rte, np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, 1.0]]), tmp_path)
    with pytest.raises(ValueError, match="not a finite number"):
        write_submission(load_tasks("stsb", data_dir=miniature("stsb"))["stsb"], [1.0, np.nan, 2.0], tmp_path)
    with pytest.raises(ValueError, match="has no split 'test'"):
        write_submission(Task("t", "regression", ("text",)), [1.0], tmp_path)
    assert not list(tmp_path.glob("*.tsv"))
