"""The official GLUE and SuperGLUE files: every row and label is read, and faults are reported with file and line."""

import json
import shutil
from collections import Counter

import pytest

from hf_alphavil.tasks import DataError, available_tasks, load_tasks
from support.official_miniatures import FOLDERS, miniature_lines

ROWS = {
    "rte": (2490, 277, 3000),
    "mrpc": (3668, 408, 1725),
    "wnli": (635, 71, 146),
    "cola": (8551, 1043, 1063),
    "stsb": (5749, 1500, 1379),
    "cb": (250, 56, 250),
    "copa": (400, 100, 500),
}
VALIDATION_LABELS = {
    "rte": {"entailment": 146, "not_entailment": 131},
    "mrpc": {"not_equivalent": 129, "equivalent": 279},
    "wnli": {"not_entailment": 40, "entailment": 31},
    "cola": {"unacceptable": 322, "acceptable": 721},
    "cb": {"entailment": 23, "contradiction": 28, "neutral": 5},
    "copa": {"choice1": 55, "choice2": 45},
}
COLUMNS = {
    "rte": ["sentence1", "sentence2", "label", "idx"],
    "mrpc": ["sentence1", "sentence2", "label", "idx"],
    "wnli": ["sentence1", "sentence2", "label", "idx"],
    "cola": ["sentence", "label", "idx"],
    "stsb": ["sentence1", "sentence2", "label", "idx"],
    "cb": ["premise", "hypothesis", "label", "idx"],
    "copa": ["premise", "choice1", "choice2", "question", "label", "idx"],
}


@pytest.mark.parametrize("name", ROWS)
def test_real_files_give_every_row_and_label(real_data, name):
    task = load_tasks(name, data_dir=real_data)[name]
    assert tuple(len(task.split(split)) for split in ("train", "validation", "test")) == ROWS[name]
    for split in ("train", "validation", "test"):
        assert task.split(split).column_names == COLUMNS[name]
        assert task.split(split)["idx"][:] == list(range(len(task.split(split))))
    if task.labels is None:
        assert min(task.train["label"]) >= 0
        assert max(task.train["label"]) == 5.0
    else:
        counts = Counter(task.labels[label] for label in task.validation["label"])
        assert counts == VALIDATION_LABELS[name]
        assert task.train.features["label"].names == list(task.labels)
    assert set(task.test["label"]) == {-1}


@pytest.mark.parametrize("name", ROWS)
def test_real_files_row_by_row(real_data, name):
    """Each row equals its line, split without the reader."""
    task = load_tasks(name, data_dir=real_data)[name]
    for split, file in {"train": "train", "validation": "dev" if name not in ("cb", "copa") else "val"}.items():
        path = next((real_data / FOLDERS[name]).glob(f"{file}.*"))
        lines = [line for line in path.read_bytes().decode("utf-8-sig").split("\n") if line]
        if path.suffix == ".tsv" and name != "cola":
            lines = lines[1:]
        assert len(lines) == len(task.split(split))
        for row, line in zip(task.split(split), lines, strict=True):
            for column in (*task.text_columns, *task.choice_columns):
                if path.suffix == ".tsv":
                    assert row[column] in line.split("\t")
                else:
                    assert row[column] == json.loads(line)[column]


@pytest.mark.parametrize("layout", ["plain", "lower", "upper", "benchmark", "own"])
@pytest.mark.parametrize("name", ROWS)
def test_layouts(real_data, tmp_path, name, layout):
    source = real_data / FOLDERS[name]
    official = source.name
    target = {
        "plain": tmp_path / official,
        "lower": tmp_path / official.lower().replace("-", ""),
        "upper": tmp_path / FOLDERS[name].upper(),
        "benchmark": tmp_path / "glue_data" / official if "superglue" not in str(source) else tmp_path / FOLDERS[name],
        "own": tmp_path / official,
    }[layout]
    target.parent.mkdir(parents=True, exist_ok=True)
    if layout == "lower":
        shutil.copytree(source, target)
    else:
        target.symlink_to(source)
    task = load_tasks(name, data_dir=target if layout == "own" else tmp_path)[name]
    assert tuple(len(task.split(split)) for split in ("train", "validation", "test")) == ROWS[name]


@pytest.mark.parametrize("name", ROWS)
def test_miniature_files(miniature, name):
    task = load_tasks(name, data_dir=miniature(name))[name]
    assert [len(task.split(split)) for split in ("train", "validation", "test")] == [3, 3, 3]
    first = task.input_columns[0]
    assert task.train[first][:] == ["The cat sat", 'A "dog ran', "Über the mat"]
    expected = {"rte": [0, 1, 0], "cb": [2, 0, 1], "stsb": [0.25, 1.25, 2.25]}.get(name, [0, 1, 0])
    assert task.train["label"][:] == expected
    if name == "copa":
        assert task.train["choice2"][0] == "The dog\u2028ran"


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("form", ["no_final_newline", "windows", "byte_order_mark"])
def test_line_ends_and_byte_order_mark(miniature, name, form):
    expected = load_tasks(name, data_dir=miniature(name))[name].train
    file = next((miniature(name) / FOLDERS[name]).glob("train.*"))
    content = file.read_bytes()
    if form == "no_final_newline":
        content = content.removesuffix(b"\n")
    elif form == "windows":
        content = content.replace(b"\n", b"\r\n")
    else:
        content = b"\xef\xbb\xbf" + content.removeprefix(b"\xef\xbb\xbf")
    got = load_tasks(name, data_dir=miniature(name, file.name, content))[name].train
    assert got.to_dict() == expected.to_dict()


def test_glue_and_superglue_rte_side_by_side(miniature):
    data_dir = miniature("rte")
    (data_dir / "RTE").mkdir()
    (data_dir / "RTE" / "train.jsonl").write_text("{}")
    assert len(load_tasks("rte", data_dir=data_dir)["rte"].train) == 3


def test_labels_of_a_test_file_are_not_read(miniature):
    data_dir = miniature("rte", "test.tsv", miniature_lines("rte", "train"))
    assert load_tasks("rte", data_dir=data_dir)["rte"].test["label"][:] == [-1, -1, -1]


def broken(task, split, line, text):
    """The task's miniature file with one line (counted from 1) replaced."""
    lines = miniature_lines(task, split)
    lines[line - 1] = text
    return lines


CB_ROW = '{"premise": "The cat sat", "hypothesis": "The cat slept", "label": "neutral", "idx": 0}'
DEEP = '{"premise": ' + "[" * 100_000 + "]" * 100_000 + "}"
FAULTS = [
    ("rte", "train.tsv", [], None, "is empty"),
    ("rte", "train.tsv", [""], None, "is empty"),
    ("cb", "train.jsonl", b"", None, "is empty"),
    ("rte", "dev.tsv", ["index\tsentence1\tsentence2\tlabel"], 1, "holds no rows"),
    ("rte", "train.tsv", broken("rte", "train", 1, "index\tsentence1\tpremise\tlabel"), 1, "no column 'sentence2'"),
    ("stsb", "test.tsv", broken("stsb", "test", 1, "\t".join("abcdefghi")), 1, "no column 'sentence1'"),
    ("rte", "train.tsv", broken("rte", "train", 3, "1\tA dog ran\tentailment"), 3, "expected 4 .* found 3"),
    ("rte", "train.tsv", broken("rte", "train", 3, ""), 3, "expected 4 .* found 1"),
    ("rte", "dev.tsv", broken("rte", "dev", 4, "2\ta\tb\tc\tentailment"), 4, "expected 4 .* found 5"),
    ("cola", "train.tsv", broken("cola", "train", 1, "sentence\tlabel"), 1, "expected 4 .* found 2"),
    ("rte", "train.tsv", broken("rte", "train", 2, "0\ta\tb\tmaybe"), 2, "label 'maybe' is none of 'entailment'"),
    ("rte", "train.tsv", broken("rte", "train", 2, "0\ta\tb\t0"), 2, "label '0' is none of"),
    ("wnli", "dev.tsv", broken("wnli", "dev", 4, "0\ta\tb\t-1"), 4, "label '-1' is none of '0', '1'"),
    ("mrpc", "train.tsv", broken("mrpc", "train", 2, "2\t7\t8\ta\tb"), 2, "label '2' is none of '0', '1'"),
    ("stsb", "train.tsv", broken("stsb", "train", 2, "0\tg\tf\ty\to\ts\ts\ta\tb\tnan"), 2, "not a number from 0 to 5"),
    ("stsb", "train.tsv", broken("stsb", "train", 2, "0\tg\tf\ty\to\ts\ts\ta\tb\t5.1"), 2, "not a number from 0 to 5"),
    ("stsb", "train.tsv", broken("stsb", "train", 2, "0\tg\tf\ty\to\ts\ts\ta\tb\t"), 2, "not a number from 0 to 5"),
    ("rte", "train.tsv", b"index\tsentence1\tsentence2\tlabel\n0\tcaf\xe9\tb\tentailment\n", 2, "is not UTF-8"),
    ("rte", "train.tsv", "index\tlabel".encode("utf-16"), 1, "is not UTF-8"),
    ("rte", "dev.tsv", broken("rte", "dev", 3, "1\ta\0b\tc\tentailment"), 3, "holds a NUL byte"),
    ("cola", "train.tsv", "src\t1\t\tThe cat sat\n".encode("utf-16-le"), 1, "holds a NUL byte"),
    ("cb", "train.jsonl", [CB_ROW, CB_ROW[:-9]], 2, "is not JSON"),
    ("cb", "train.jsonl", [CB_ROW, CB_ROW[:-1] + ', "idx": 1}'], 2, "is not JSON .the key 'idx' occurs twice"),
    ("cb", "train.jsonl", [CB_ROW, "", CB_ROW], 2, "is not JSON"),
    ("cb", "train.jsonl", [DEEP], 1, "is not JSON"),
    ("cb", "train.jsonl", ['{"idx": ' + "9" * 5000 + "}"], 1, "is not JSON"),
    ("cb", "train.jsonl", [CB_ROW, "[1, 2]"], 2, "expected a JSON object, found list"),
    ("cb", "val.jsonl", [CB_ROW, CB_ROW.replace("hypothesis", "text")], 2, "no column 'hypothesis'"),
    ("cb", "train.jsonl", [CB_ROW.replace(', "label": "neutral"', "")], 1, "no column 'label'"),
    ("cb", "train.jsonl", [CB_ROW.replace('"neutral"', "null")], 1, "label None means that it is missing"),
    ("cb", "train.jsonl", [CB_ROW.replace('"neutral"', "[2]")], 1, "label .2. is none of"),
    ("cb", "train.jsonl", [CB_ROW.replace('"The cat sat"', "7")], 1, "'premise' holds 7, which is not a string"),
    ("cb", "train.jsonl", [CB_ROW.replace("The cat sat", "\\ud800")], 1, "lone surrogate"),
    ("cb", "train.jsonl", [CB_ROW.replace(": 0}", ": 9999999999}")], 1, "'idx' holds 9999999999"),
    ("cb", "train.jsonl", [CB_ROW.replace(": 0}", ": true}")], 1, "'idx' holds True"),
    (
        "copa",
        "val.jsonl",
        broken("copa", "dev", 2, miniature_lines("copa", "dev")[1].replace('"label": 1', '"label": true')),
        2,
        "label True is none of 0, 1",
    ),
]


@pytest.mark.parametrize(("name", "file", "lines", "line", "reason"), FAULTS)
def test_faults_name_file_line_and_reason(miniature, name, file, lines, line, reason):
    with pytest.raises(DataError, match=reason) as caught:
        load_tasks(name, data_dir=miniature(name, file, lines))
    assert caught.value.line == line
    place = f"{file}, line {line}: " if line is not None else f"{file}: "
    assert place in str(caught.value)


def test_unknown_question_of_copa(miniature):
    lines = broken("copa", "train", 2, miniature_lines("copa", "train")[1].replace("effect", "reason"))
    with pytest.raises(
        DataError, match="line 2: the column 'question' holds 'reason'; known are cause, effect"
    ) as caught:
        load_tasks("copa", data_dir=miniature("copa", "train.jsonl", lines))
    assert caught.value.line == 2


def test_missing_folder_and_files(miniature, tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder. Pass the folder"):
        load_tasks("rte", data_dir=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no folder of the task STS-B; looked for STS-B and glue/STS-B.*train.tsv"):
        load_tasks("stsb", data_dir=tmp_path)
    data_dir = miniature("cb")
    (data_dir / "superglue/CB/val.jsonl").unlink()
    with pytest.raises(DataError, match=r"CB: no file val.jsonl; looked for train.jsonl, val.jsonl, test.jsonl"):
        load_tasks("cb", data_dir=data_dir)


def test_names(miniature):
    assert set(available_tasks()) == set(FOLDERS)
    for name in ("rte", "stsb", "cola"):
        data_dir = miniature(name)
    assert list(load_tasks(["STS-B", "CoLA", "Rte"], data_dir=data_dir)) == ["stsb", "cola", "rte"]
    with pytest.raises(ValueError, match=r"unknown task 'mprc'; known are ax, .*wsc\. Did you mean 'mrpc'\?"):
        load_tasks("mprc", data_dir=data_dir)
    with pytest.raises(ValueError, match="unknown task 'zzz'"):
        load_tasks(["rte", "zzz"], data_dir=data_dir)


def test_the_fingerprint_follows_the_content(miniature, tmp_path):
    first = load_tasks("rte", data_dir=miniature("rte"))["rte"]
    again = load_tasks("rte", data_dir=miniature("rte"))["rte"]
    assert first.train._fingerprint == again.train._fingerprint != first.validation._fingerprint
    changed = load_tasks(
        "rte", data_dir=miniature("rte", "train.tsv", broken("rte", "train", 2, "0\ta\tb\tentailment"))
    )
    assert changed["rte"].train._fingerprint != first.train._fingerprint
