"""A leaderboard's complete set of prediction files."""

import json
import zipfile

import numpy as np
import pytest

from hf_alphavil.tasks import (
    DataError,
    SubmissionFormat,
    Task,
    check_test_sets,
    describe_submission,
    load_tasks,
    make_submission,
    write_submission,
)

GLUE_ROWS = {
    "CoLA": 1063, "SST-2": 1821, "MRPC": 1725, "STS-B": 1379, "QQP": 390965, "MNLI-m": 9796, "MNLI-mm": 9847,
    "QNLI": 5463, "RTE": 3000, "WNLI": 146, "AX": 1104,
}  # fmt: skip
SUPERGLUE_ROWS = {
    "BoolQ": 3245, "CB": 250, "COPA": 500, "RTE": 3000, "WiC": 1400, "WSC": 146, "AX-b": 1104, "AX-g": 356,
    "MultiRC": 166, "ReCoRD": 3,
}  # fmt: skip
SPELLINGS = {
    "BoolQ": {"true", "false"}, "WiC": {"true", "false"}, "WSC": {"True", "False"}, "COPA": {0, 1},
    "RTE": {"entailment", "not_entailment"}, "AX-b": {"entailment", "not_entailment"},
    "AX-g": {"entailment", "not_entailment"}, "CB": {"entailment", "neutral", "contradiction"},
}  # fmt: skip


def contents(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name.rpartition(".")[0]: archive.read(name).decode().splitlines() for name in archive.namelist()}


def test_glue(real_data, tmp_path):
    task = load_tasks("rte", data_dir=real_data)["rte"]
    folder = write_submission(task, np.ones(3000, dtype=int), tmp_path / "predictions").parent
    origins = make_submission("glue", [folder], tmp_path)
    assert {name for name, origin in origins.items() if origin != "placeholder"} == {"RTE.tsv"}
    files = contents(tmp_path / "glue.zip")
    assert {name: len(lines) - 1 for name, lines in files.items()} == GLUE_ROWS
    assert set(files["RTE"][1:]) == {f"{n}\tnot_entailment" for n in range(3000)}
    for name, lines in files.items():
        assert lines[0] == "index\tprediction"
        assert [line.split("\t")[0] for line in lines[1:]] == [str(n) for n in range(len(lines) - 1)], name
    assert files["STS-B"][1] == "0\t0.000"
    assert files["MNLI-mm"][1] == "0\tentailment"
    text = describe_submission(origins, tmp_path / "glue.zip")
    assert "RTE.tsv      " in text
    assert "10 of 11 files are placeholders" in text


@pytest.fixture
def superglue_data(real_data, miniature, tmp_path):
    """The real files and, for ReCoRD, which is not among them, miniature ones."""
    folder = miniature("record")
    (folder / "superglue" / "MultiRC").symlink_to(real_data / "superglue" / "MultiRC")
    (folder / "superglue" / "WSC").symlink_to(real_data / "superglue" / "WSC")
    return folder


def test_superglue_with_placeholders_only(real_data, tmp_path):
    origins = make_submission("superglue", [], tmp_path, data_dir=real_data)
    assert set(origins.values()) == {"placeholder"}
    files = contents(tmp_path / "superglue.zip")
    assert {name: len(lines) for name, lines in files.items()} == SUPERGLUE_ROWS | {"ReCoRD": 10000}


@pytest.fixture
def three_queries(monkeypatch):
    """ReCoRD's miniature test set has three queries, not ten thousand."""
    from dataclasses import replace

    from hf_alphavil.tasks.registry import get_definition

    spec = get_definition("record").spec
    monkeypatch.setitem(vars(spec), "submission", replace(spec.submission, test_rows=3))


def test_superglue(superglue_data, three_queries, tmp_path):
    task = load_tasks("wsc", data_dir=superglue_data)["wsc"]
    first = write_submission(task, np.ones(146, dtype=int), tmp_path / "one").parent
    record = load_tasks("record", data_dir=superglue_data)["record"]
    margins = np.tile([[0.0, 0.0], [0.0, 1.0], [0.0, 0.5]], (3, 1))
    second = write_submission(record, margins, tmp_path / "two").parent
    origins = make_submission("superglue", [first, second], tmp_path / "set.zip", data_dir=superglue_data)
    assert {name for name, origin in origins.items() if origin != "placeholder"} == {"WSC.jsonl", "ReCoRD.jsonl"}
    files = {name: list(map(json.loads, lines)) for name, lines in contents(tmp_path / "set.zip").items()}
    assert {name: len(lines) for name, lines in files.items()} == SUPERGLUE_ROWS
    for name, labels in SPELLINGS.items():
        assert {row["label"] for row in files[name]} <= labels
        assert [row["idx"] for row in files[name]] == list(range(len(files[name])))
    assert {row["label"] for row in files["WSC"]} == {"True"}
    assert files["ReCoRD"] == [{"idx": n, "label": "Anna"} for n in range(3)]
    answers = [
        answer
        for row in files["MultiRC"]
        for question in row["passage"]["questions"]
        for answer in question["answers"]
    ]
    assert len(answers) == 9693
    assert {answer["label"] for answer in answers} == {0}
    # A set made from its own files is complete again.
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        archive.extractall(tmp_path / "again")
    again = make_submission("superglue", [tmp_path / "again"], tmp_path / "again.zip")
    assert "placeholder" not in again.values()


@pytest.mark.parametrize(
    ("name", "lines", "line", "reason"),
    [
        ("WNLI.tsv", ["index\tlabel", "0\t1"], 1, "the header is"),
        ("WNLI.tsv", ["index\tprediction", "0\t1", "2\t1"], 3, "expected the index 1"),
        ("WNLI.tsv", ["index\tprediction", "0\tentailment"], 2, "'entailment' is not a prediction"),
        ("WNLI.tsv", ["index\tprediction", "0\t1"], None, "holds 1 predictions; WNLI's test set has 146"),
        ("STS-B.tsv", ["index\tprediction", "0\t5.1"], 2, "'5.1' is not a prediction"),
        ("STS-B.tsv", ["index\tprediction", "0\tnan"], 2, "'nan' is not a prediction"),
        ("WSC.jsonl", ["{"], 1, "is not a prediction of WSC"),
        ("WSC.jsonl", ['{"idx": 0, "label": true}'], 1, "True is not a prediction"),
        ("WSC.jsonl", ['{"idx": 0, "label": "True"}'] * 2, 2, "occurs twice"),
        ("COPA.jsonl", ['{"idx": 0, "label": 0}'], None, "holds 1 predictions"),
        ("MultiRC.jsonl", ['{"idx": 0, "passage": {}}'], 1, "is not a prediction of MultiRC"),
    ],
)
def test_files_that_a_leaderboard_refuses(tmp_path, name, lines, line, reason):
    (tmp_path / name).write_text("".join(f"{one}\n" for one in lines))
    with pytest.raises(DataError, match=reason) as caught:
        make_submission("superglue" if name.endswith("jsonl") else "glue", [tmp_path], tmp_path / "set.zip")
    assert (caught.value.file, caught.value.line) == (tmp_path / name, line)
    assert not list(tmp_path.glob("*.zip*"))


def test_missing_and_duplicate_files(tmp_path, miniature):
    with pytest.raises(ValueError, match=r"unknown benchmark 'squad'; pass one of glue, superglue"):
        make_submission("squad", [], tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        make_submission("glue", [tmp_path / "nowhere"], tmp_path)
    with pytest.raises(DataError, match=r"a placeholder of MultiRC needs the ids of its test questions.*data_dir"):
        make_submission("superglue", [], tmp_path, data_dir=miniature("wsc"))
    lines = ["index\tprediction", *(f"{n}\t0" for n in range(146))]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "WNLI.tsv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="two files of WNLI"):
        make_submission("glue", [tmp_path / "one", tmp_path / "two"], tmp_path)


def test_single_files_can_be_listed(tmp_path):
    """In a folder with the files of another run too, only the listed files are taken."""
    lines = ["index\tprediction", *(f"{n}\t0" for n in range(146))]
    for name in ("WNLI.tsv", "RTE.tsv"):
        (tmp_path / name).write_text("\n".join(lines))
    origins = make_submission("glue", [tmp_path / "WNLI.tsv"], tmp_path / "set.zip")
    assert {name for name, origin in origins.items() if origin != "placeholder"} == {"WNLI.tsv"}


def test_sets_are_checked_before_training(superglue_data, real_data, three_queries, tmp_path):
    tasks = load_tasks(["wsc", "record"], data_dir=superglue_data)
    check_test_sets("superglue", tasks, superglue_data)
    with pytest.raises(DataError, match=r"the test set of WSC asks for 3 predictions, and the leaderboard for 146"):
        check_test_sets("superglue", {"wsc": tasks["wsc"].select(max_predict_samples=3)}, superglue_data)
    with pytest.raises(DataError, match=r"a placeholder of MultiRC needs the ids"):
        check_test_sets("superglue", {}, real_data / "glue")
    with pytest.raises(ValueError, match="unknown benchmark 'squad'"):
        check_test_sets("squad", {})
    own = Task("mine", "regression", ("text",), submission=SubmissionFormat("WNLI.tsv"))
    with pytest.raises(ValueError, match=r"the task mine would be predicted into WNLI.tsv, wnli's: rename it"):
        check_test_sets("glue", {"mine": own})
