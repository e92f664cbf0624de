"""Every task of GLUE and SuperGLUE, with the real files if they are there, else small ones in the same layout."""

import json

import numpy as np
import pytest

from hf_alphavil.tasks import available_tasks, load_tasks, write_submission
from hf_alphavil.tasks.registry import get_definition
from support.official_miniatures import FOLDERS

#: Rows of train, validation and test, from the table of the data's README.
REAL_ROWS = {
    "rte": (2490, 277, 3000), "mrpc": (3668, 408, 1725), "wnli": (635, 71, 146), "cola": (8551, 1043, 1063),
    "stsb": (5749, 1500, 1379), "ax": (None, None, 1104), "cb": (250, 56, 250), "copa": (400, 100, 500),
    "wsc": (554, 104, 146), "multirc": (27243, 4848, 9693), "axb": (None, 1104, 1104), "axg": (None, 356, 356),
}  # fmt: skip
LINES = {name: rows[2] + (FOLDERS[name].startswith("glue")) for name, rows in REAL_ROWS.items()} | {"multirc": 166}


@pytest.fixture(scope="module")
def real_tasks(real_data):
    return load_tasks(list(REAL_ROWS), data_dir=real_data)


def test_real_row_counts(real_tasks):
    for name, rows in REAL_ROWS.items():
        splits = [getattr(real_tasks[name], split) for split in ("train", "validation", "test")]
        assert tuple(None if split is None else len(split) for split in splits) == rows, name
        sizes = get_definition(name).sizes
        assert [sizes.get(split) for split in ("train", "validation", "test")] == list(rows), name
    multirc = real_tasks["multirc"]
    splits = (multirc.train, multirc.validation, multirc.test)
    paragraphs = [len({idx["paragraph"] for idx in rows["idx"]}) for rows in splits]
    assert paragraphs == [456, 83, 166]
    labels = real_tasks["wsc"].validation["label"][:]
    assert (labels.count(0), labels.count(1)) == (66, 38)


@pytest.mark.parametrize("name", REAL_ROWS)
def test_prediction_files_have_the_official_number_of_lines(real_tasks, name, tmp_path):
    task = real_tasks[name]
    shape = (len(task.test), 1 if task.labels is None else len(task.labels))
    path = write_submission(task, np.random.default_rng(0).normal(size=shape), tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == LINES[name]
    if name == "multirc":
        rows = [json.loads(line) for line in lines]
        answers = [a["idx"] for row in rows for question in row["passage"]["questions"] for a in question["answers"]]
        assert answers == [idx["answer"] for idx in task.test["idx"]]


#: Of three rows or so in the official layout: labels of the validation set, and the test predictions when every
#: prediction is the last label.
MINIATURES = {
    "sst2": ([1, 0, 1], "SST-2.tsv", "0\t1"),
    "qqp": ([1, 0, 1], "QQP.tsv", "0\t1"),
    "mnli": ([1, 0, 2], "MNLI-m.tsv", "0\tcontradiction"),
    "mnli_mismatched": ([1, 0, 2], "MNLI-mm.tsv", "0\tcontradiction"),
    "qnli": ([0, 1, 0], "QNLI.tsv", "0\tnot_entailment"),
    "ax": (None, "AX.tsv", "0\tcontradiction"),
    "boolq": ([1, 0, 1], "BoolQ.jsonl", {"idx": 0, "label": "true"}),
    "superglue_rte": ([0, 1, 0], "RTE.jsonl", {"idx": 0, "label": "not_entailment"}),
    "wic": ([1, 0, 1], "WiC.jsonl", {"idx": 0, "label": "true"}),
    "wsc": ([1, 0, 1], "WSC.jsonl", {"idx": 0, "label": "True"}),
    "multirc": (
        [0, 1, 0, 1],
        "MultiRC.jsonl",
        {
            "idx": 0,
            "passage": {"questions": [{"idx": 0, "answers": [{"idx": 0, "label": 1}, {"idx": 1, "label": 1}]}]},
        },
    ),
    "record": ([0, 1, 0] * 3, "ReCoRD.jsonl", {"idx": 0, "label": "Mary"}),
    "axb": ([1, 1, 1], "AX-b.jsonl", {"idx": 0, "label": "not_entailment"}),
    "axg": ([0, 1, 0, 0], "AX-g.jsonl", {"idx": 0, "label": "not_entailment"}),
}


@pytest.mark.parametrize("name", MINIATURES)
def test_official_layouts(miniature, name, tmp_path):
    labels, file, first = MINIATURES[name]
    task = load_tasks(name, data_dir=miniature(name))[name]
    if labels is not None:
        assert task.validation["label"][:] == labels
        assert task.validation.features["label"].names == list(task.labels)
    assert set(task.test["label"]) <= {-1}
    logits = np.zeros((len(task.test), len(task.labels)))
    logits[:, -1] = 1
    path = write_submission(task, logits, tmp_path / "predictions")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert path.name == file
    if file.endswith(".tsv"):
        assert lines[:2] == ["index\tprediction", first]
        assert len(lines) == 1 + len(task.test)
    else:
        assert json.loads(lines[0]) == first


def test_every_task_is_covered(miniature):
    assert set(available_tasks()) == set(REAL_ROWS) | set(MINIATURES)
    for name in MINIATURES:
        task = load_tasks(name, data_dir=miniature(name))[name]
        if task.validation is None:
            continue
        prediction = type("Prediction", (), {})()
        prediction.predictions = np.eye(len(task.labels))[task.validation["label"]]
        prediction.label_ids = np.array(task.validation["label"])
        scores = task.compute_metrics(prediction)
        perfect = {"gender_parity": 0.5, "combined_score": 0.75} if name == "axg" else {}
        if name == "axb":  # one label alone: no correlation
            perfect = {"matthews_correlation": 0.0}
        assert scores == {metric: perfect.get(metric, 1.0) for metric in scores}, name
